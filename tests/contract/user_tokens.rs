//! Every method that acts for a user refuses the gateway itself without the access token of that user, and every method
//! that acts for an admin refuses everybody else. The cases are generated from the declarations of the methods.

use std::collections::HashMap;

use futures::{StreamExt, stream};
use prost::encoding;
use talktime_client::UserRole;
use talktime_kit::testing::{TestTokens, stack_tokens};
use talktime_proto::access::v1::{Actor, Workload};
use talktime_proto::access::{METHOD_ACCESS, MethodAccess};
use talktime_tests::rpc::{SERVERS, find_server, read_code, send_message};
use talktime_tests::{ExpectAnswer, connect_app, connect_as, run_dev};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Calls under way at once.
const CALLS_CONCURRENT: usize = 16;
/// No user has this id.
const NOBODY: i64 = 4_000_000_000;
/// In seconds since 1970.
const LONG_AGO: i64 = 1_700_000_000;

/// The certificate of the gateway, and what a process that has stolen it can make of tokens.
struct StolenIdentity {
    channels: HashMap<Workload, Channel>,
    tokens: TestTokens,
}

impl StolenIdentity {
    async fn take() -> Self {
        let channels = SERVERS.map(|server| (server, connect_as(Workload::Gateway, server)));
        Self {
            channels: HashMap::from(channels),
            tokens: stack_tokens().await,
        }
    }

    /// Calls all of these methods for a user with the same token, if any.
    async fn call_all(
        &self,
        methods: impl Iterator<Item = &'static MethodAccess>,
        token: Option<&str>,
        user_id: i64,
    ) -> Vec<(&'static str, Status)> {
        let answers = stream::iter(methods).map(|method| async move {
            let channel = self.channels[&find_server(method.path)].clone();
            let message = name_user(method, user_id);
            let status = send_message(channel, method.path, token, &message).await;
            (method.path, status)
        });
        answers.buffer_unordered(CALLS_CONCURRENT).collect().await
    }

    /// Asserts that every method for users and admins refuses a token with this code.
    async fn expect_refusals(&self, token: Option<&str>, user_id: i64, code: Code, reason: &str) {
        let answers = self.call_all(methods_for_users(), token, user_id).await;
        assert!(answers.len() > 70, "{} methods", answers.len());
        assert_all_refused(&answers, code, reason);
    }
}

fn methods_for_users() -> impl Iterator<Item = &'static MethodAccess> {
    METHOD_ACCESS
        .iter()
        .filter(|method| method.actor != Actor::Workload)
}

fn methods_for_admins() -> impl Iterator<Item = &'static MethodAccess> {
    METHOD_ACCESS
        .iter()
        .filter(|method| method.actor == Actor::Admin)
}

#[track_caller]
fn assert_all_refused(answers: &[(&str, Status)], code: Code, reason: &str) {
    for (path, status) in answers {
        assert_eq!(
            (status.code(), read_code(status).as_str()),
            (code, reason),
            "{path}: {status}"
        );
    }
}

/// Encodes a request in which nothing but the user who acts is given.
fn name_user(method: &MethodAccess, user_id: i64) -> Vec<u8> {
    let Some(path) = method.user_fields.first() else {
        return Vec::new();
    };
    let (last, outer) = path.split_last().expect("a field");
    let mut message = Vec::new();
    encoding::int64::encode(*last, &user_id, &mut message);
    for field in outer.iter().rev() {
        let mut part = Vec::new();
        encoding::bytes::encode(*field, &message, &mut part);
        message = part;
    }
    message
}

#[tokio::test]
async fn the_certificate_of_the_gateway_acts_for_nobody() {
    let stolen = StolenIdentity::take().await;
    stolen
        .expect_refusals(None, NOBODY, Code::Unauthenticated, "user_token_missing")
        .await;
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused() {
    let stolen = StolenIdentity::take().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let user_id = person.user_id;
    let forger = TestTokens::from_seed(stolen.tokens.key_id(), 7);
    let mut of_others = stolen.tokens.claims(user_id);
    of_others["aud"] = "others".into();
    for token in [
        forger.sign_for(user_id),
        stolen.tokens.sign(&of_others),
        person.refresh_token.clone(),
        "nonsense".to_owned(),
    ] {
        stolen
            .expect_refusals(
                Some(&token),
                user_id,
                Code::Unauthenticated,
                "invalid_token",
            )
            .await;
    }
}

#[tokio::test]
async fn tokens_that_have_long_expired_are_refused() {
    let stolen = StolenIdentity::take().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let mut claims = stolen.tokens.claims(person.user_id);
    claims["exp"] = LONG_AGO.into();
    let expired = stolen.tokens.sign(&claims);
    stolen
        .expect_refusals(
            Some(&expired),
            person.user_id,
            Code::Unauthenticated,
            "token_expired",
        )
        .await;
}

#[tokio::test]
async fn the_token_of_one_user_does_not_act_for_another() {
    let stolen = StolenIdentity::take().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let victim = app.sign_up(UserRole::Listener).await;
    let of_somebody = methods_for_users().filter(|method| !method.user_fields.is_empty());
    let token = Some(person.access_token.as_str());
    let answers = stolen.call_all(of_somebody, token, victim.user_id).await;
    assert!(answers.len() > 60, "{} methods", answers.len());
    assert_all_refused(&answers, Code::PermissionDenied, "token_of_another_user");
}

#[tokio::test]
async fn only_admins_act_as_admins() {
    let stolen = StolenIdentity::take().await;
    let app = connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let token = Some(listener.access_token.as_str());
    let answers = stolen
        .call_all(methods_for_admins(), token, listener.user_id)
        .await;
    assert!(answers.len() >= 12, "{} methods", answers.len());
    assert_all_refused(&answers, Code::PermissionDenied, "admin_only");
    // An admin who does not exist, as a process could invent one that knew a key.
    let invented = stolen.tokens.sign_for(NOBODY);
    let answers = stolen
        .call_all(methods_for_admins(), Some(&invented), NOBODY)
        .await;
    assert_all_refused(&answers, Code::PermissionDenied, "admin_only");
}

#[tokio::test]
async fn an_admin_acts_until_the_role_or_the_session_ends() {
    let stolen = StolenIdentity::take().await;
    let app = connect_app().await;
    let (former, gone) = (app.sign_up_admin().await, app.sign_up_admin().await);
    let read = || {
        METHOD_ACCESS
            .iter()
            .filter(|method| method.path.ends_with("/ReviewWithdrawals"))
    };
    for admin in [&former, &gone] {
        let token = Some(admin.access_token.as_str());
        let answers = stolen.call_all(read(), token, admin.user_id).await;
        // The request is empty, so the wallet refuses it only after it has admitted the admin.
        assert_all_refused(&answers, Code::InvalidArgument, "invalid_status");
    }
    let revoke = ["run", "profile", "revoke-admin", "--operator", "asha"];
    run_dev(&[revoke.as_slice(), &[&former.phone]].concat()).await;
    let logout = app.post("/auth/logout").as_user(&gone).answer().await;
    assert_eq!(logout.status, 200, "{logout:?}");
    for (admin, code, reason) in [
        (&former, Code::PermissionDenied, "admin_only"),
        (&gone, Code::Unauthenticated, "token_revoked"),
    ] {
        let token = Some(admin.access_token.as_str());
        let answers = stolen.call_all(read(), token, admin.user_id).await;
        assert_all_refused(&answers, code, reason);
    }
}

#[tokio::test]
async fn users_act_with_their_own_tokens() {
    let stolen = StolenIdentity::take().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let reads = methods_for_users()
        .filter(|method| method.actor == Actor::User && method.path.contains("/Get"));
    let token = Some(person.access_token.as_str());
    let refusals = [
        "user_token_missing",
        "token_of_another_user",
        "invalid_token",
    ];
    for (path, status) in stolen.call_all(reads, token, person.user_id).await {
        assert!(
            !refusals.contains(&read_code(&status).as_str()),
            "{path}: {status}"
        );
        assert_ne!(status.code(), Code::Unavailable, "{path}: {status}");
    }
}
