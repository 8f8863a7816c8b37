//! Who may do what: every endpoint of the document against everyone who might ask.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiRequest, AppUser, UserRole, random_phone, random_username};
use talktime_tests::document::{AccessRule, ApiDocument, ApiOperation};
use talktime_tests::replica::{start_auth, start_gateway};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, run_dev, wait_for};

/// After these the token of who asked is dead.
const LAST_WORDS: [&str; 3] = [
    "POST /auth/logout",
    "POST /auth/logout_all",
    "DELETE /users/me",
];
/// An id that nothing has.
const NOBODYS_ID: &str = "9007199254740991";

/// What the id of somebody else's thing gets, by the parameter that names it.
#[derive(Clone, Copy, Debug)]
enum Ownership {
    /// Whoever is logged in may ask about it.
    Everybodys,
    /// It is answered with this status, and not with the thing.
    Refused(u16),
}

/// Every parameter in a path needs its line: the test fails for one without.
const OWNERSHIP: &[(&str, Ownership)] = &[
    ("call_id", Ownership::Refused(403)),
    ("session_id", Ownership::Refused(404)),
    ("user_id", Ownership::Everybodys),
    ("listener_id", Ownership::Everybodys),
    // Whoever knows the address of an approved photo may fetch it.
    ("photo_key", Ownership::Everybodys),
    // Admins decide, and the role is checked before the id.
    ("withdrawal_id", Ownership::Refused(403)),
];

struct Everyone {
    app: TestApp,
    document: ApiDocument,
    user: AppUser,
    listener: AppUser,
    admin: AppUser,
}

impl Everyone {
    async fn gather() -> Self {
        let app = connect_app().await;
        let document = ApiDocument::read(&app).await;
        let user = app.sign_up(UserRole::User).await;
        let listener = app.sign_up(UserRole::Listener).await;
        let admin = app.sign_up(UserRole::User).await;
        run_dev(&["grant-admin", &admin.phone]).await;
        Self {
            app,
            document,
            user,
            listener,
            admin,
        }
    }

    fn ask(&self, operation: &ApiOperation, id: &str) -> ApiRequest {
        let method = operation.method.parse().expect("a method");
        let ask = self.app.request(method, &operation.fill_path(id));
        match self.document.sample_body(operation) {
            Some(body) => ask.json(&body),
            None => ask,
        }
    }

    async fn answer(&self, operation: &ApiOperation, token: Option<&str>) -> ApiAnswer {
        let ask = self.ask(operation, NOBODYS_ID);
        let ask = match token {
            Some(token) => ask.bearer(token),
            None => ask,
        };
        ask.answer().await
    }

    /// Somebody of this role whose token nobody else needs.
    async fn somebody(&self, role: &str) -> AppUser {
        let signs_up_as = if role == "listener" {
            UserRole::Listener
        } else {
            UserRole::User
        };
        let person = self.app.sign_up(signs_up_as).await;
        if role == "admin" {
            run_dev(&["grant-admin", &person.phone]).await;
        }
        person
    }
}

fn code(answer: &ApiAnswer) -> &str {
    answer.body["code"].as_str().unwrap_or_default()
}

/// A token that was ours until a moment ago: of an auth that gives them a second.
async fn expired_token(app: &TestApp) -> String {
    let auth = start_auth(&[("TALKTIME_AUTH__TOKENS__LIFETIMES__ACCESS_SECS", "1")]).await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url)]).await;
    let phone = random_phone();
    let ask = gateway.app.post("/auth/request_otp");
    let sent = ask.json(&json!({"phone": phone})).answer().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let ask = gateway.app.post("/auth/verify");
    let body = json!({"phone": phone, "otp": app.read_otp(&phone).await});
    let verified = ask.json(&body).answer().await;
    let registration = json!({
        "registration_token": verified.body["registration_token"],
        "username": random_username("short"),
        "sex": "other",
        "dob": "1999-12-31",
        "role": "user",
    });
    let ask = gateway.app.post("/auth/register");
    let registered = ask.json(&registration).answer().await;
    let token = registered.body["access_token"].as_str();
    let token = token.expect("registered").to_owned();
    wait_for("the token to expire", || async {
        let answer = app.get("/users/me").bearer(&token).answer().await;
        (code(&answer) == "token_expired").then_some(())
    })
    .await;
    token
}

#[tokio::test]
async fn who_is_nobody_gets_nowhere_but_through_the_open_doors() {
    let everyone = Everyone::gather().await;
    let gone = everyone.app.sign_up(UserRole::User).await;
    let logout = everyone
        .app
        .post("/auth/logout")
        .as_user(&gone)
        .answer()
        .await;
    assert_eq!(logout.status, 200, "{logout:?}");
    let expired = expired_token(&everyone.app).await;
    let nobodies = [
        (None, "missing_token"),
        (Some("nonsense"), "invalid_token"),
        (Some(everyone.user.refresh_token.as_str()), "invalid_token"),
        (Some(expired.as_str()), "token_expired"),
        (Some(gone.access_token.as_str()), "token_revoked"),
    ];
    for operation in everyone.document.list_operations() {
        for (token, expected) in nobodies {
            let answer = everyone.answer(&operation, token).await;
            let name = operation.name();
            if operation.access_rule() == AccessRule::Open {
                assert_ne!(code(&answer), expected, "{name}: {answer:?}");
            } else {
                assert_eq!(
                    (answer.status, code(&answer)),
                    (401, expected),
                    "{name}: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_role_comes_as_far_as_the_document_says() {
    let everyone = Everyone::gather().await;
    let people = [
        ("user", &everyone.user),
        ("listener", &everyone.listener),
        ("admin", &everyone.admin),
    ];
    for operation in everyone.document.list_operations() {
        let name = operation.name();
        let refusal = match operation.access_rule() {
            AccessRule::Open => continue,
            AccessRule::LoggedIn => None,
            AccessRule::Role(role) => Some(role),
        };
        for (role, person) in people {
            let answer = if LAST_WORDS.contains(&name.as_str()) {
                let person = everyone.somebody(role).await;
                everyone
                    .answer(&operation, Some(&person.access_token))
                    .await
            } else {
                everyone
                    .answer(&operation, Some(&person.access_token))
                    .await
            };
            assert_ne!(answer.status, 401, "{name} as {role}: {answer:?}");
            assert!(answer.status < 500, "{name} as {role}: {answer:?}");
            match &refusal {
                Some(needed) if needed != role => assert_eq!(
                    (answer.status, code(&answer)),
                    (403, format!("{needed}_only").as_str()),
                    "{name} as {role}: {answer:?}"
                ),
                Some(needed) => assert_ne!(
                    code(&answer),
                    format!("{needed}_only"),
                    "{name} as {role}: {answer:?}"
                ),
                None => {}
            }
        }
    }
}

#[tokio::test]
async fn nobody_reaches_what_is_somebody_elses() {
    let everyone = Everyone::gather().await;
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let sessions = pair
        .app
        .get("/auth/sessions")
        .as_user(&pair.caller)
        .answer()
        .await;
    let session_id = sessions.body["sessions"][0]["session_id"].clone();
    for operation in everyone.document.list_operations() {
        let name = operation.name();
        if operation.access_rule() == AccessRule::Open {
            continue;
        }
        for parameter in operation.path_parameters() {
            let owned = OWNERSHIP.iter().find(|(known, _)| *known == parameter);
            let (_, ownership) =
                owned.unwrap_or_else(|| panic!("{name}: say in OWNERSHIP whose {parameter} is"));
            let Ownership::Refused(status) = ownership else {
                continue;
            };
            let id = match parameter {
                "call_id" => call_id.to_string(),
                "withdrawal_id" => NOBODYS_ID.to_owned(),
                "session_id" => session_id.as_str().expect("a session").to_owned(),
                other => panic!("{name}: the test has no {other}"),
            };
            let outsider = everyone.user.access_token.as_str();
            let answer = everyone
                .ask(&operation, &id)
                .bearer(outsider)
                .answer()
                .await;
            assert_eq!(answer.status, *status, "{name}: {answer:?}");
        }
    }
    let own = pair.load_ongoing_call(&pair.caller).await;
    assert_eq!(own["call_id"], call_id, "the call went on through all that");
    let sessions = pair
        .app
        .get("/auth/sessions")
        .as_user(&pair.caller)
        .answer()
        .await;
    assert_ne!(sessions.body["sessions"], Value::Null, "{sessions:?}");
    pair.end_call(&pair.caller, call_id).await;
}
