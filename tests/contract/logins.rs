//! Section 2: invalid input, races for one phone, and limits that a new code does not reset.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, UserRole, random_phone, random_username};
use talktime_tests::replica::{GatewayReplica, start_auth, start_gateway};
use talktime_tests::{ExpectAnswer, TestApp, connect_app};

use crate::assert_problem;

async fn post(app: &TestApp, path: &str, body: Value) -> ApiAnswer {
    app.post(path).json(&body).answer().await
}

async fn request_code(app: &TestApp, phone: &str) -> String {
    let sent = post(app, "/auth/request_otp", json!({"phone": phone})).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    app.read_otp(phone).await
}

async fn verify(app: &TestApp, phone: &str, otp: &str) -> ApiAnswer {
    post(app, "/auth/verify", json!({"phone": phone, "otp": otp})).await
}

async fn registration_token(app: &TestApp, phone: &str) -> Value {
    let verified = verify(app, phone, &request_code(app, phone).await).await;
    assert_eq!(
        verified.body["status"], "needs_registration",
        "{verified:?}"
    );
    verified.body["registration_token"].clone()
}

fn registration(token: &Value, username: &str) -> Value {
    json!({
        "registration_token": token, "username": username, "sex": "other", "dob": "1990-05-17",
        "role": "listener",
    })
}

#[track_caller]
fn assert_waits(answer: &ApiAnswer, code: &str, secs_max: u64) {
    assert_problem(answer, 429, code);
    let wait = answer.header("retry-after").expect("a header");
    let wait: u64 = wait.parse().expect("seconds");
    assert!((1..=secs_max).contains(&wait), "{wait}");
}

#[tokio::test]
async fn missing_fields_and_wrong_types_are_named() {
    let app = connect_app().await;
    for (path, body, fields) in [
        ("/auth/request_otp", json!({}), &["phone"][..]),
        (
            "/auth/request_otp",
            json!({"phone": 919_812_345_678_i64}),
            &["phone"],
        ),
        ("/auth/resend_otp", json!({"phone": null}), &["phone"]),
        ("/auth/verify", json!({"phone": 1}), &["phone", "otp"]),
        (
            "/auth/verify",
            json!({"phone": "+919812345678", "otp": 123_456}),
            &["otp"],
        ),
        (
            "/auth/refresh",
            json!({"refresh_token": ["a"]}),
            &["refresh_token"],
        ),
        ("/auth/refresh", json!([]), &[]),
    ] {
        let refused = post(&app, path, body.clone()).await;
        assert_problem(&refused, 422, "invalid_body");
        let errors = refused.body["errors"].as_array().expect("errors");
        for field in fields {
            let is_named = errors.iter().any(|error| error["field"] == *field);
            assert!(is_named, "{path} {body}: {field} is not in {errors:?}");
        }
    }
}

#[tokio::test]
async fn an_invalid_phone_is_refused_with_any_code() {
    let app = connect_app().await;
    for phone in ["", "+91", "nobody", "+91981234567\0", "+999123456789"] {
        let refused = verify(&app, phone, "123456").await;
        assert_problem(&refused, 400, "invalid_phone");
        let refused = post(&app, "/auth/resend_otp", json!({"phone": phone})).await;
        assert_problem(&refused, 400, "invalid_phone");
    }
    for otp in [
        "",
        "12345",
        "1234567",
        "abcdef",
        "１２３４５６",
        "' OR 1=1",
        "\0",
    ] {
        let refused = verify(&app, &random_phone(), otp).await;
        assert_problem(&refused, 400, "invalid_otp");
    }
}

#[tokio::test]
async fn the_answer_does_not_reveal_whether_a_phone_has_an_account() {
    let app = connect_app().await;
    let known = app.sign_up(UserRole::User).await.phone;
    let unknown = random_phone();
    for path in ["/auth/request_otp", "/auth/resend_otp"] {
        let [of_known, of_unknown] = [&known, &unknown].map(|phone| json!({"phone": phone}));
        let (of_known, of_unknown) = (
            post(&app, path, of_known).await,
            post(&app, path, of_unknown).await,
        );
        let content = |answer: &ApiAnswer| {
            let challenge = &answer.body["challenge_id"];
            (
                answer.status,
                answer.body["message"].clone(),
                challenge.is_string(),
            )
        };
        assert_eq!(content(&of_known), content(&of_unknown));
    }
    for phone in [&known, &unknown] {
        assert_problem(&verify(&app, phone, "none").await, 400, "invalid_otp");
    }
}

#[tokio::test]
async fn a_refused_resend_states_when_the_next_is_possible() {
    let app = connect_app().await;
    let body = json!({"phone": random_phone()});
    assert_eq!(
        post(&app, "/auth/resend_otp", body.clone()).await.status,
        200
    );
    let refused = post(&app, "/auth/resend_otp", body).await;
    assert_waits(&refused, "otp_resent_recently", 60);
}

#[tokio::test]
async fn the_right_code_is_refused_after_twenty_wrong_tries_in_a_day() {
    let app = connect_app().await;
    let phone = random_phone();
    for _ in 0..4 {
        request_code(&app, &phone).await;
        for _ in 0..5 {
            assert_problem(&verify(&app, &phone, "none").await, 400, "invalid_otp");
        }
    }
    let otp = request_code(&app, &phone).await;
    let refused = verify(&app, &phone, &otp).await;
    assert_waits(&refused, "otp_tries_limited", 24 * 60 * 60);
}

/// A gateway that believes clients which address they have.
async fn start_gateway_behind_proxy() -> GatewayReplica {
    let proxies = ("TALKTIME_GATEWAY__HTTP__TRUSTED_PROXIES", "[127.0.0.1]");
    start_gateway(&[proxies]).await
}

async fn post_from(gateway: &GatewayReplica, address: &str, path: &str, body: Value) -> ApiAnswer {
    let request = gateway.app.post(path).header("x-forwarded-for", address);
    request.json(&body).answer().await
}

#[tokio::test]
async fn wrong_tries_of_a_stranger_do_not_lock_out_the_owner() {
    let app = connect_app().await;
    let gateway = start_gateway_behind_proxy().await;
    let phone = random_phone();
    let (owner, stranger) = ("203.0.113.7", "198.51.100.9");
    for round in 0..4 {
        let body = json!({"phone": phone});
        let sent = post_from(&gateway, owner, "/auth/request_otp", body).await;
        assert_eq!(sent.status, 200, "{sent:?}");
        for _ in 0..5 {
            let wrong = json!({"phone": phone, "otp": "none"});
            let refused = post_from(&gateway, stranger, "/auth/verify", wrong).await;
            assert_problem(&refused, 400, "invalid_otp");
        }
        let otp = app.read_otp(&phone).await;
        let right = match round {
            // An app that knows no challenges is not locked out either.
            0 => json!({"phone": phone, "otp": otp}),
            _ => json!({"phone": phone, "otp": otp, "challenge_id": sent.body["challenge_id"]}),
        };
        let verified = post_from(&gateway, owner, "/auth/verify", right).await;
        assert_eq!(verified.status, 200, "{round}: {verified:?}");
    }
    let body = json!({"phone": phone});
    let sent = post_from(&gateway, stranger, "/auth/request_otp", body).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let right = json!({"phone": phone, "otp": app.read_otp(&phone).await});
    let refused = post_from(&gateway, stranger, "/auth/verify", right).await;
    assert_waits(&refused, "otp_tries_limited", 24 * 60 * 60);
}

#[tokio::test]
async fn known_phones_receive_a_code_beyond_the_shared_limits() {
    let app = connect_app().await;
    let auth = start_auth(&[
        ("TALKTIME_AUTH__OTP__PLATFORM_SENDS_MAX", "0"),
        ("TALKTIME_AUTH__OTP__PLATFORM_RESERVE", "1000000"),
    ])
    .await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url)]).await;
    let known = app.sign_up(UserRole::User).await.phone;
    let request_for = async |path: &str, phone: &str| {
        let request = gateway.app.post(path).json(&json!({"phone": phone}));
        request.answer().await
    };
    for path in ["/auth/request_otp", "/auth/resend_otp"] {
        let sent = request_for(path, &known).await;
        assert_eq!(sent.status, 200, "{path}: {sent:?}");
        let refused = request_for(path, &random_phone()).await;
        assert_waits(&refused, "otp_sends_limited", 900);
    }
}

#[tokio::test]
async fn a_challenge_verifies_its_own_code() {
    let app = connect_app().await;
    let phone = random_phone();
    let mut requested = Vec::new();
    for _ in 0..2 {
        let sent = post(&app, "/auth/request_otp", json!({"phone": phone})).await;
        requested.push((
            sent.body["challenge_id"].clone(),
            app.read_otp(&phone).await,
        ));
    }
    let verify_with = async |phone: &str, challenge: &Value, otp: &str| {
        let body = json!({"phone": phone, "otp": otp, "challenge_id": challenge});
        post(&app, "/auth/verify", body).await
    };
    let [(first, first_otp), (second, second_otp)] = &requested[..] else {
        panic!("{requested:?}");
    };
    for (challenge, otp) in [
        (&json!("nonsense"), second_otp),
        (&json!("3fa85f64-5717-4562-b3fc-2c963f66afa6"), second_otp),
    ] {
        let refused = verify_with(&phone, challenge, otp).await;
        assert_problem(&refused, 400, "invalid_otp");
    }
    let refused = verify_with(&random_phone(), first, first_otp).await;
    assert_problem(&refused, 400, "invalid_otp");

    let body = json!({"phone": phone, "challenge_id": first});
    let resent = post(&app, "/auth/resend_otp", body).await;
    assert_eq!(
        (resent.status, &resent.body),
        (
            200,
            &json!({"message": "OTP re-sent", "challenge_id": first})
        )
    );
    for (challenge, otp) in [(first, first_otp), (second, second_otp)] {
        let verified = verify_with(&phone, challenge, otp).await;
        assert_eq!(
            verified.body["status"], "needs_registration",
            "{verified:?}"
        );
        let again = verify_with(&phone, challenge, otp).await;
        assert_problem(&again, 400, "invalid_otp");
    }
}

#[tokio::test]
async fn twenty_concurrent_registrations_of_one_phone_create_one_account() {
    let app = connect_app().await;
    let phone = random_phone();
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let token = registration_token(&app, &phone).await;
        let names = (0..5).map(|_| random_username("t"));
        bodies.extend(names.map(|name| registration(&token, &name)));
    }
    let answers = bodies
        .into_iter()
        .map(|body| post(&app, "/auth/register", body));
    let answers = join_all(answers).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(made, 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        let code = match refused.code() {
            "registration_reused" => "registration_reused",
            _ => "phone_taken",
        };
        assert_problem(refused, 409, code);
    }
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_is_answered_again() {
    let app = connect_app().await;
    let phone = random_phone();
    let token = registration_token(&app, &phone).await;
    let body = registration(&token, &random_username("t"));
    let answers = join_all((0..20).map(|_| post(&app, "/auth/register", body.clone()))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["user_id"], answers[0].body["user_id"]);
    }
    let known = verify(&app, &phone, &request_code(&app, &phone).await).await;
    assert_eq!(known.body["status"], "registered");
}

#[tokio::test]
async fn each_kind_of_token_serves_only_its_own_purpose() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let registration_token = registration_token(&app, &random_phone()).await;
    let registration_token = registration_token.as_str().expect("a token");
    for token in [registration_token, &person.refresh_token] {
        let refused = app.get("/users/me").bearer(token).answer().await;
        assert_problem(&refused, 401, "invalid_token");
    }
    for token in [registration_token, &person.access_token, "", "a.b.c"] {
        let refused = post(&app, "/auth/refresh", json!({"refresh_token": token})).await;
        assert_problem(&refused, 401, "invalid_refresh_token");
    }
    for path in ["/auth/logout", "/auth/logout_all"] {
        let refused = app.post(path).answer().await;
        assert_problem(&refused, 401, "missing_token");
    }
    let me = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(me.status, 200, "none of that logged anybody out: {me:?}");
}

/// Registers a user; returns the body of the registration and the first answer.
async fn register_new_user(app: &TestApp) -> (Value, ApiAnswer) {
    let token = registration_token(app, &random_phone()).await;
    let body = registration(&token, &random_username("t"));
    let first = post(app, "/auth/register", body.clone()).await;
    assert_eq!(first.status, 200, "{first:?}");
    (body, first)
}

#[tokio::test]
async fn a_registration_is_repeated_with_the_same_tokens_while_they_are_unused() {
    let app = connect_app().await;
    let (body, first) = register_new_user(&app).await;
    let again = post(&app, "/auth/register", body.clone()).await;
    assert_eq!((again.status, &again.body), (200, &first.body), "{again:?}");
    let mut other = body.clone();
    other["username"] = random_username("t").into();
    let refused = post(&app, "/auth/register", other).await;
    assert_problem(&refused, 409, "registration_reused");

    let refresh = json!({"refresh_token": first.body["refresh_token"]});
    let refreshed = post(&app, "/auth/refresh", refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let used = post(&app, "/auth/register", body).await;
    assert_problem(&used, 401, "invalid_registration_token");
    let refresh = json!({"refresh_token": refreshed.body["refresh_token"]});
    let refreshed = post(&app, "/auth/refresh", refresh).await;
    assert_eq!(refreshed.status, 200, "the session goes on: {refreshed:?}");
}

#[tokio::test]
async fn a_registration_token_opens_nothing_after_the_end_of_its_session() {
    let app = connect_app().await;
    for way in ["logout", "logout_all", "end", "delete"] {
        let (body, first) = register_new_user(&app).await;
        let token = first.body["access_token"].as_str().expect("a token");
        let request = match way {
            "delete" => app.delete("/users/me"),
            "end" => {
                let listed = app.get("/auth/sessions").bearer(token).answer().await;
                let id = listed.body["sessions"][0]["session_id"].as_str();
                let path = format!("/auth/sessions/{}", id.expect("a session"));
                app.delete(&path)
            }
            path => app.post(&format!("/auth/{path}")),
        };
        let ended = request.bearer(token).answer().await;
        assert_eq!(ended.status, 200, "{way}: {ended:?}");
        for _ in 0..3 {
            let refused = post(&app, "/auth/register", body.clone()).await;
            assert_problem(&refused, 401, "invalid_registration_token");
        }
    }
}

#[tokio::test]
async fn a_registration_that_races_its_deletion_creates_no_second_account() {
    let app = connect_app().await;
    for _ in 0..5 {
        let (body, first) = register_new_user(&app).await;
        let token = first.body["access_token"].as_str().expect("a token");
        let delete = app.delete("/users/me").bearer(token).answer();
        let repeat = async {
            let mut made = Vec::new();
            for _ in 0..20 {
                let again = post(&app, "/auth/register", body.clone()).await;
                made.extend(again.body["user_id"].as_i64());
            }
            made
        };
        let (deleted, made) = tokio::join!(delete, repeat);
        assert_eq!(deleted.status, 200, "{deleted:?}");
        let first_id = first.body["user_id"].as_i64().expect("an id");
        assert!(made.iter().all(|id| *id == first_id), "{made:?}");
        let refused = post(&app, "/auth/register", body).await;
        assert_problem(&refused, 401, "invalid_registration_token");
    }
}
