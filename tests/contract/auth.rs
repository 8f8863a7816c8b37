//! Section 2: login, registration and tokens.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, UserRole, random_phone, random_username};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, read_variable, wait_for};

use crate::assert_problem;

async fn send_otp(app: &TestApp, phone: &str) -> ApiAnswer {
    app.post("/auth/request_otp")
        .json(&json!({"phone": phone}))
        .answer()
        .await
}

async fn verify(app: &TestApp, phone: &str, otp: &str) -> ApiAnswer {
    app.post("/auth/verify")
        .json(&json!({"phone": phone, "otp": otp}))
        .answer()
        .await
}

async fn refresh(app: &TestApp, refresh_token: &Value) -> ApiAnswer {
    app.post("/auth/refresh")
        .json(&json!({"refresh_token": refresh_token}))
        .answer()
        .await
}

/// Returns another code.
fn different_code(otp: &str) -> String {
    let number: u32 = otp.parse().expect("six digits");
    format!("{:06}", (number + 1) % 1_000_000)
}

#[tokio::test]
async fn a_code_is_sent_to_a_phone_in_any_common_spelling() {
    let app = connect_app().await;
    let phone = random_phone();
    let spelled = format!("{} {}", &phone[..3], &phone[3..]);
    let sent = send_otp(&app, &spelled).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(sent.body["message"], "OTP sent");
    let otp = app.read_otp(&phone).await;
    assert!(
        otp.len() == 6 && otp.bytes().all(|digit| digit.is_ascii_digit()),
        "{otp}"
    );
}

#[tokio::test]
async fn an_invalid_phone_is_refused() {
    for phone in [
        "",
        "12",
        "+1",
        "not a phone",
        "+91123",
        "'; DROP TABLE users; --",
    ] {
        assert_problem(
            &send_otp(&connect_app().await, phone).await,
            400,
            "invalid_phone",
        );
    }
}

#[tokio::test]
async fn only_mobile_numbers_of_allowed_countries_receive_a_code() {
    let app = connect_app().await;
    for (phone, code) in [
        ("+447400123456", "phone_country_refused"),
        ("+870773111632", "phone_country_refused"),
        ("+911800123456", "phone_not_mobile"),
        ("+911123456789", "phone_not_mobile"),
    ] {
        for path in ["/auth/request_otp", "/auth/resend_otp"] {
            let request = app.post(path).json(&json!({"phone": phone}));
            assert_problem(&request.answer().await, 400, code);
        }
        assert_problem(&verify(&app, phone, "123456").await, 400, code);
    }
}

#[tokio::test]
async fn the_sixth_code_in_fifteen_minutes_is_refused() {
    let app = connect_app().await;
    let phone = random_phone();
    for _ in 0..5 {
        assert_eq!(send_otp(&app, &phone).await.status, 200);
    }
    let refused = send_otp(&app, &phone).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let wait_secs: u64 = refused
        .header("retry-after")
        .expect("a header")
        .parse()
        .expect("seconds");
    assert!((1..=900).contains(&wait_secs), "{wait_secs}");
}

#[tokio::test]
async fn a_resent_code_is_the_active_one() {
    let app = connect_app().await;
    let phone = random_phone();
    send_otp(&app, &phone).await;
    let first = app.read_otp(&phone).await;
    let resend = || {
        app.post("/auth/resend_otp")
            .json(&json!({"phone": phone}))
            .answer()
    };
    let resent = resend().await;
    assert_eq!(
        (resent.status, &resent.body),
        (
            200,
            &json!({"message": "OTP re-sent", "challenge_id": null})
        )
    );
    assert_eq!(app.read_otp(&phone).await, first);
    assert_eq!(resend().await.status, 429, "once a minute");
}

#[tokio::test]
async fn a_resend_without_an_active_code_sends_a_new_one() {
    let app = connect_app().await;
    let phone = random_phone();
    let sent = app
        .post("/auth/resend_otp")
        .json(&json!({"phone": phone}))
        .answer()
        .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(sent.body["message"], "OTP sent");
    assert!(sent.body["challenge_id"].is_string(), "{sent:?}");
}

#[tokio::test]
async fn a_code_opens_one_session_however_often_it_is_sent() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    send_otp(&app, &person.phone).await;
    let otp = app.read_otp(&person.phone).await;
    let answers = join_all((0..20).map(|_| verify(&app, &person.phone, &otp))).await;
    let opened = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(opened, 1, "{answers:?}");
    let refused = answers
        .iter()
        .find(|answer| answer.status != 200)
        .expect("nineteen");
    assert_problem(refused, 400, "invalid_otp");
    assert_eq!(refused.body["detail"], "Invalid or expired OTP");
}

#[tokio::test]
async fn a_code_is_invalid_after_five_wrong_tries() {
    let app = connect_app().await;
    let phone = random_phone();
    send_otp(&app, &phone).await;
    let otp = app.read_otp(&phone).await;
    for _ in 0..5 {
        assert_problem(
            &verify(&app, &phone, &different_code(&otp)).await,
            400,
            "invalid_otp",
        );
    }
    assert_problem(&verify(&app, &phone, &otp).await, 400, "invalid_otp");
}

#[tokio::test]
async fn a_known_phone_logs_in_and_is_online() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let left = app.post("/auth/logout").as_user(&person).answer().await;
    assert_eq!(left.status, 200);
    send_otp(&app, &person.phone).await;
    let verified = verify(&app, &person.phone, &app.read_otp(&person.phone).await).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["status"], "registered");
    let token = verified.body["access_token"].as_str().expect("a token");
    wait_for("the user to be online", || async {
        let status = app.get("/users/me/status").bearer(token).answer().await;
        (status.body["is_online"] == true).then_some(())
    })
    .await;
}

async fn registration_token(app: &TestApp) -> String {
    let phone = random_phone();
    send_otp(app, &phone).await;
    let verified = verify(app, &phone, &app.read_otp(&phone).await).await;
    assert_eq!(
        verified.body["status"], "needs_registration",
        "{verified:?}"
    );
    verified.body["registration_token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn registration(token: &str, username: &str) -> Value {
    json!({
        "registration_token": token, "username": username, "sex": "female", "dob": "1990-05-17",
        "role": "user",
    })
}

async fn register(app: &TestApp, body: Value) -> ApiAnswer {
    app.post("/auth/register").json(&body).answer().await
}

#[tokio::test]
async fn a_registration_creates_the_wallet_and_the_presence_row() {
    let app = connect_app().await;
    let token = registration_token(&app).await;
    let registered = register(&app, registration(&token, &random_username("t"))).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    assert!(registered.body["user_id"].is_i64() && registered.body["refresh_token"].is_string());
    let access_token = registered.body["access_token"].as_str().expect("a token");
    let balance = app
        .get("/wallet/balance")
        .bearer(access_token)
        .answer()
        .await;
    assert_eq!(
        (balance.status, &balance.body["balance_coins"]),
        (200, &json!(0))
    );
    let status = app
        .get("/users/me/status")
        .bearer(access_token)
        .answer()
        .await;
    assert_eq!(
        (status.status, &status.body["is_online"]),
        (200, &json!(true)),
        "{status:?}"
    );
}

#[tokio::test]
async fn one_of_twenty_concurrent_registrations_of_one_name_succeeds() {
    let app = connect_app().await;
    let name = random_username("t");
    let mut bodies = Vec::new();
    for n in 0..20 {
        let name = if n % 2 == 0 {
            name.to_uppercase()
        } else {
            name.clone()
        };
        bodies.push(registration(&registration_token(&app).await, &name));
    }
    let answers = join_all(bodies.into_iter().map(|body| register(&app, body))).await;
    let registered = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(registered, 1, "{answers:?}");
    let refused = answers
        .iter()
        .find(|answer| answer.status != 200)
        .expect("nineteen");
    assert_problem(refused, 409, "username_taken");
}

#[tokio::test]
async fn every_field_rule_of_a_registration_holds() {
    let app = connect_app().await;
    let token = registration_token(&app).await;
    let long_bio = "x".repeat(501);
    let eleven: Vec<String> = (0..11).map(|n| format!("topic {n}")).collect();
    for (field, value, code) in [
        ("username", json!("ab"), "invalid_username"),
        ("username", json!("a b c"), "invalid_username"),
        ("username", json!("ü".repeat(5)), "invalid_username"),
        ("sex", json!("unknown"), "invalid_sex"),
        ("dob", json!("yesterday"), "invalid_dob"),
        ("dob", json!("2020-01-01"), "under_age"),
        ("role", json!("admin"), "invalid_role"),
        ("bio", json!(long_bio), "invalid_bio"),
        ("interests", json!(eleven), "invalid_interests"),
        ("interests", json!(["<script>"]), "invalid_interests"),
        (
            "profile_image_url",
            json!("javascript:alert(1)"),
            "invalid_profile_image_url",
        ),
    ] {
        let mut body = registration(&token, &random_username("t"));
        body[field] = value;
        assert_problem(&register(&app, body).await, 400, code);
    }
}

#[tokio::test]
async fn a_registration_needs_its_own_kind_of_token() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for token in ["", "nonsense", person.access_token.as_str()] {
        let answer = register(&app, registration(token, &random_username("t"))).await;
        assert_problem(&answer, 401, "invalid_registration_token");
    }
}

#[tokio::test]
async fn a_missing_field_is_named_with_every_other_one() {
    let answer = register(&connect_app().await, json!({"sex": 7})).await;
    assert_problem(&answer, 422, "invalid_body");
    let named: Vec<&str> = answer.body["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["field"].as_str())
        .collect();
    for field in ["registration_token", "username", "sex", "dob", "role"] {
        assert!(named.contains(&field), "{field} is not in {named:?}");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_every_session() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let first = json!(person.refresh_token);
    let second = refresh(&app, &first).await;
    assert_eq!(second.status, 200, "{second:?}");
    let reused = refresh(&app, &first).await;
    assert_eq!(reused.status, 401, "{reused:?}");
    let after = refresh(&app, &second.body["refresh_token"]).await;
    assert_eq!(after.status, 401, "every session has ended: {after:?}");
}

#[tokio::test]
async fn twenty_refreshes_of_one_token_at_once_give_one_pair_at_most() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let token = json!(person.refresh_token);
    let answers = join_all((0..20).map(|_| refresh(&app, &token))).await;
    let pairs = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(pairs, 1, "{answers:?}");
}

#[tokio::test]
async fn an_access_token_cannot_refresh() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    assert_eq!(refresh(&app, &json!(person.access_token)).await.status, 401);
}

#[tokio::test]
async fn logout_ends_this_token_and_every_refresh_token() {
    let pair = CallPair::sign_up().await;
    let (app, person) = (&pair.app, &pair.caller);
    // The listener sees the status of the caller once they have had a call.
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(person, call_id).await.status, 200);
    let presence = format!("/users/{}/presence", person.user_id);
    let is_online = || async {
        let seen = app.get(&presence).as_user(&pair.listener).answer().await;
        assert_eq!(seen.status, 200, "{seen:?}");
        seen.body["is_online"] == true
    };
    wait_for("the user to be online", || async {
        is_online().await.then_some(())
    })
    .await;
    let left = app.post("/auth/logout").as_user(person).answer().await;
    assert_eq!(
        (left.status, &left.body),
        (200, &json!({"message": "Logged out"}))
    );
    assert_problem(
        &app.get("/users/me").as_user(person).answer().await,
        401,
        "token_revoked",
    );
    assert_eq!(refresh(app, &json!(person.refresh_token)).await.status, 401);
    wait_for("the user to be offline", || async {
        (!is_online().await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_a_challenge() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let missing = app.get("/users/me").answer().await;
    assert_problem(&missing, 401, "missing_token");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let (head, signature) = person.access_token.rsplit_once('.').expect("a JWT");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for token in [
        forged.as_str(),
        person.refresh_token.as_str(),
        "a.b.c",
        "nonsense",
    ] {
        let refused = app.get("/users/me").bearer(token).answer().await;
        assert_problem(&refused, 401, "invalid_token");
    }
}

#[tokio::test]
async fn the_public_keys_are_public() {
    let url = format!("{}/.well-known/jwks.json", read_variable("GATEWAY_URL"));
    let answer = reqwest::get(url).await.expect("answers");
    assert_eq!(answer.status(), 200);
    let keys: Value = answer.json().await.expect("JSON");
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert!(
        keys["keys"][0].get("d").is_none(),
        "the private part stays private"
    );
}
