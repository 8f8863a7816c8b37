//! Texts that fields accept and refuse.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::audio::{self, FORM_TYPE, form};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, run_dev};

use crate::assert_problem;

/// Characters that are invisible or make a text look like another one.
const INVISIBLE: [&str; 8] = [
    "\0", "\u{200B}", "\u{202E}", "\u{2066}", "\u{200F}", "\u{AD}", "\u{3164}", "\u{FEFF}",
];

async fn send(
    app: &TestApp,
    person: &AppUser,
    method: &str,
    path: &str,
    body: &Value,
) -> ApiAnswer {
    let request = match method {
        "PUT" => app.put(path),
        _ => app.post(path),
    };
    request.as_user(person).json(body).answer().await
}

#[tokio::test]
async fn interests_of_any_script_are_found_in_any_case() {
    let app = connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let viewer = app.sign_up(UserRole::User).await;
    let interests = [
        "क्रिकेट",
        "फ़िल्में",
        "हिन्दी",
        "தமிழ்",
        "ಕನ್ನಡ",
        "संगीत",
        "র\u{200D}্যাব",
        "Chess",
    ];
    let body = json!({"interests": interests, "preferred_language": "hi-IN"});
    let changed = send(&app, &listener, "PUT", "/users/me", &body).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    for interest in interests.iter().chain(&["CHESS"]) {
        let query = [("interests", *interest), ("language", "HI")];
        assert!(
            is_in_feed(&app, &viewer, &listener, &query).await,
            "{interest}"
        );
    }
    for language in ["hi-in", "hi"] {
        assert!(is_in_feed(&app, &viewer, &listener, &[("language", language)]).await);
    }
    assert!(!is_in_feed(&app, &viewer, &listener, &[("language", "hi-Latn")]).await);
    for query in [
        "interests=mu%E2%80%8Bsic",
        "interests=%E2%80%AEmusic",
        "interests=a%26b",
    ] {
        let refused = app
            .get(&format!("/feed/listeners?{query}"))
            .as_user(&viewer);
        assert_problem(&refused.answer().await, 400, "invalid_interests");
    }
}

async fn is_in_feed(
    app: &TestApp,
    viewer: &AppUser,
    listener: &AppUser,
    query: &[(&str, &str)],
) -> bool {
    let feed = app.get("/feed/listeners?per_page=100&sort_by=recent");
    let feed = feed.query(query).as_user(viewer).answer().await;
    assert_eq!(feed.status, 200, "{feed:?}");
    let listeners = feed.body["listeners"].as_array().expect("a list");
    listeners
        .iter()
        .any(|each| each["user_id"] == listener.user_id)
}

/// Asserts that each invisible character in a field of an otherwise valid body is refused. `fields` contains path,
/// body, field and the code of the refusal.
async fn assert_refuses_invisible(
    app: &TestApp,
    person: &AppUser,
    method: &str,
    fields: &[(&str, Value, &str, &str)],
) {
    for (path, body, field, code) in fields {
        for invisible in INVISIBLE {
            let mut body = body.clone();
            body[*field] = json!(format!("Devi {invisible}Rao"));
            let refused = send(app, person, method, path, &body).await;
            assert_problem(&refused, 400, code);
        }
    }
}

/// Asserts that invisible characters are refused in lists, addresses and forms.
async fn assert_refuses_invisible_elsewhere(app: &TestApp, listener: &AppUser) {
    for invisible in INVISIBLE {
        let body = json!({"interests": [format!("mu{invisible}sic")]});
        let refused = send(app, listener, "PUT", "/users/me", &body).await;
        assert_problem(&refused, 400, "invalid_interests");
        let body = json!({"profile_image_url": format!("https://example.com/{invisible}a.png")});
        let refused = send(app, listener, "PUT", "/users/me", &body).await;
        assert_problem(&refused, 400, "invalid_profile_image_url");
        let form = form(
            "a.wav",
            &audio::wav(40),
            Some(&format!("my {invisible}voice")),
        );
        let upload = app
            .post("/verification/upload-audio-file")
            .as_user(listener);
        let refused = upload.body(FORM_TYPE, form).answer().await;
        assert_problem(&refused, 400, "invalid_text");
        let detail = refused.body["detail"].as_str().expect("a reason");
        assert!(detail.contains("invisible characters"), "{detail}");
    }
}

#[tokio::test]
async fn texts_of_users_refuse_invisible_characters() {
    let pair = CallPair::sign_up().await;
    let (app, caller, listener) = (&pair.app, &pair.caller, &pair.listener);
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(caller, call_id).await.status, 200);
    let rating = format!("/calls/{call_id}/rating");
    let account = json!({
        "account_holder_name": "Devi Rao", "account_number": "123456789012",
        "ifsc_code": "HDFC0ABC123", "bank_name": "HDFC"
    });
    let block = json!({"blocked_id": caller.user_id});
    let put = [
        ("/users/me", json!({}), "username", "invalid_username"),
        ("/users/me", json!({}), "bio", "invalid_bio"),
        ("/users/me", json!({}), "country", "invalid_country"),
        (
            "/users/me",
            json!({}),
            "preferred_language",
            "invalid_language",
        ),
        (
            "/wallet/bank-details",
            account.clone(),
            "account_holder_name",
            "invalid_bank_details",
        ),
        (
            "/wallet/bank-details",
            account,
            "bank_name",
            "invalid_bank_details",
        ),
    ];
    assert_refuses_invisible(app, listener, "PUT", &put).await;
    let sample = json!({"audio_url": "https://samples.example.com/a.mp3"});
    let post = [
        ("/block", block, "reason", "invalid_reason"),
        (
            "/verification/upload-audio-url",
            sample,
            "description",
            "invalid_text",
        ),
        (
            "/verification/confirm",
            json!({"upload_id": "x"}),
            "description",
            "invalid_text",
        ),
    ];
    assert_refuses_invisible(app, listener, "POST", &post).await;
    let rated = [(&*rating, json!({"stars": 5}), "comment", "invalid_comment")];
    assert_refuses_invisible(app, caller, "POST", &rated).await;
    assert_refuses_invisible_elsewhere(app, listener).await;
}

#[tokio::test]
async fn texts_of_admins_refuse_invisible_characters() {
    let pair = CallPair::sign_up().await;
    let admin = &pair.caller;
    run_dev(&["grant-admin", &admin.phone]).await;
    let review = json!({"verification_id": 1, "action": "approve"});
    let revoke = json!({"user_id": pair.listener.user_id});
    let decision = json!({"status": "rejected"});
    let post = [
        (
            "/admin/verification/review",
            review,
            "reviewer_notes",
            "invalid_text",
        ),
        (
            "/admin/verification/revoke",
            revoke,
            "reason",
            "invalid_text",
        ),
        (
            "/admin/withdrawals/1/decide",
            decision,
            "notes",
            "invalid_text",
        ),
    ];
    assert_refuses_invisible(&pair.app, admin, "POST", &post).await;
}
