//! Proofs that requests for one-time passwords come from the app, where the operator requires them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use serde_json::json;
use talktime_client::{ApiAnswer, random_phone, random_username};
use talktime_kit::Clock;
use talktime_kit::testing::TestAttestationKey;
use talktime_tests::ExpectAnswer;
use talktime_tests::replica::{GatewayReplica, ServiceReplica, start_auth, start_gateway};

use crate::assert_problem;

const REQUEST: &str = "request_otp";
const RESEND: &str = "resend_otp";
const FAILED: &str = "attestation_failed";
/// Longer than an attestation is valid, in seconds.
const HOUR_SECS: i64 = 60 * 60;

/// A gateway whose auth service verifies attestations.
struct AttestedStack {
    gateway: GatewayReplica,
    _auth: ServiceReplica,
}

impl AttestedStack {
    async fn start(required: &str) -> Self {
        let auth = start_auth(&[
            ("TALKTIME_AUTH__ATTESTATION__ADAPTER", "development"),
            ("TALKTIME_AUTH__ATTESTATION__REQUIRED", required),
        ])
        .await;
        let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url)]).await;
        Self {
            gateway,
            _auth: auth,
        }
    }

    async fn send(&self, operation: &str, phone: &str, attestation: Option<&str>) -> ApiAnswer {
        let request = self.gateway.app.post(&format!("/auth/{operation}"));
        let body = json!({"phone": phone, "attestation": attestation});
        request.json(&body).answer().await
    }
}

/// Returns the nonce of a request, as apps compute it.
fn nonce(operation: &str, phone: &str) -> String {
    let request = format!("talktime:{operation}:{phone}");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, request.as_bytes()))
}

/// Returns an attestation that no other one equals, made so many seconds ago.
fn attest(operation: &str, phone: &str, age_secs: i64) -> String {
    let issued_at = Clock::System.now().timestamp() - age_secs;
    let nonce = nonce(operation, phone);
    TestAttestationKey::of_stack().sign(&nonce, issued_at, &random_username("jti"))
}

#[tokio::test]
async fn a_request_without_an_attestation_is_refused() {
    let stack = AttestedStack::start("true").await;
    for operation in [REQUEST, RESEND] {
        for missing in [None, Some("")] {
            let refused = stack.send(operation, &random_phone(), missing).await;
            assert_problem(&refused, 403, "attestation_required");
        }
    }
}

#[tokio::test]
async fn an_attestation_is_valid_for_its_own_request() {
    let stack = AttestedStack::start("true").await;
    let phone = random_phone();
    let now = Clock::System.now().timestamp();
    let forger = TestAttestationKey::generate();
    let cut_short = attest(REQUEST, &phone, 0);
    for (case, attestation) in [
        ("no token", "not-a-token".to_owned()),
        ("too long", "x".repeat(20_000)),
        ("cut short", cut_short[..cut_short.len() - 4].to_owned()),
        (
            "forged",
            forger.sign(&nonce(REQUEST, &phone), now, "forged"),
        ),
        ("another phone", attest(REQUEST, &random_phone(), 0)),
        ("another operation", attest(RESEND, &phone, 0)),
        ("expired", attest(REQUEST, &phone, HOUR_SECS)),
        ("of the future", attest(REQUEST, &phone, -HOUR_SECS)),
    ] {
        let refused = stack.send(REQUEST, &phone, Some(&attestation)).await;
        assert_eq!(refused.body["code"], FAILED, "{case}: {refused:?}");
        assert_problem(&refused, 403, FAILED);
    }
    let sent = stack
        .send(REQUEST, &phone, Some(&attest(REQUEST, &phone, 0)))
        .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let resent = stack
        .send(RESEND, &phone, Some(&attest(RESEND, &phone, 0)))
        .await;
    assert_eq!(resent.status, 200, "{resent:?}");
}

#[tokio::test]
async fn an_attestation_is_used_once_whatever_its_signature() {
    let stack = AttestedStack::start("true").await;
    let phone = random_phone();
    let key = TestAttestationKey::of_stack();
    let now = Clock::System.now().timestamp();
    let jti = random_username("jti");
    let sign = || key.sign(&nonce(REQUEST, &phone), now, &jti);
    let attestations = [sign(), sign()];
    assert_ne!(attestations[0], attestations[1], "signatures are random");

    let requests = attestations.iter().cycle().take(10);
    let requests = requests.map(|attestation| stack.send(REQUEST, &phone, Some(attestation)));
    let (sent, refused): (Vec<_>, Vec<_>) = join_all(requests)
        .await
        .into_iter()
        .partition(|answer| answer.status == 200);

    assert_eq!(sent.len(), 1, "{sent:?}");
    for refused in refused {
        assert_problem(&refused, 403, FAILED);
    }
}

#[tokio::test]
async fn attestations_that_are_not_required_refuse_nobody() {
    let stack = AttestedStack::start("false").await;
    let phone = random_phone();
    for attestation in [None, Some("not-a-token")] {
        let sent = stack.send(REQUEST, &phone, attestation).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
}
