//! Access: every endpoint of the document with every kind of user.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiRequest, AppUser, UserRole, random_phone, random_username};
use talktime_tests::document::{AccessRule, ApiDocument, ApiOperation};
use talktime_tests::replica::{start_auth, start_gateway};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, run_dev, wait_for};

/// Requests that end the session of their user.
const ENDS_SESSION: [&str; 3] = [
    "POST /auth/logout",
    "POST /auth/logout_all",
    "DELETE /users/me",
];
/// An id that does not exist.
const UNUSED_ID: &str = "9007199254740991";

/// Treatment of the id of an object of another user.
#[derive(Clone, Copy, Debug)]
enum IdOwnership {
    /// Every logged-in user may use it.
    Public,
    /// It is refused with this status.
    Refused(u16),
}

/// The treatment of every parameter in a path; the test fails for a parameter without a line.
const OWNERSHIP: &[(&str, IdOwnership)] = &[
    ("call_id", IdOwnership::Refused(403)),
    ("session_id", IdOwnership::Refused(404)),
    ("user_id", IdOwnership::Public),
    ("listener_id", IdOwnership::Public),
    // Everybody who knows the address of an approved photo may fetch it.
    ("photo_key", IdOwnership::Public),
    // Only admins decide, and the role is checked before the id.
    ("withdrawal_id", IdOwnership::Refused(403)),
];

/// Users of every role.
struct TestUsers {
    app: TestApp,
    document: ApiDocument,
    user: AppUser,
    listener: AppUser,
    admin: AppUser,
}

impl TestUsers {
    async fn sign_up_all() -> Self {
        let app = connect_app().await;
        let document = ApiDocument::read(&app).await;
        let user = app.sign_up(UserRole::User).await;
        let listener = app.sign_up(UserRole::Listener).await;
        let admin = app.sign_up_admin().await;
        Self {
            app,
            document,
            user,
            listener,
            admin,
        }
    }

    fn build_request(&self, operation: &ApiOperation, id: &str) -> ApiRequest {
        let method = operation.method.parse().expect("a method");
        let request = self.app.request(method, &operation.fill_path(id));
        match self.document.sample_body(operation) {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    async fn answer(&self, operation: &ApiOperation, token: Option<&str>) -> ApiAnswer {
        let request = self.build_request(operation, UNUSED_ID);
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        request.answer().await
    }

    /// Signs up a user of this role whose token no other request needs.
    async fn sign_up_with_role(&self, role: &str) -> AppUser {
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

/// Obtains an expired token from an auth whose tokens last a second.
async fn obtain_expired_token(app: &TestApp) -> String {
    let auth = start_auth(&[("TALKTIME_AUTH__TOKENS__LIFETIMES__ACCESS_SECS", "1")]).await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url)]).await;
    let phone = random_phone();
    let request = gateway.app.post("/auth/request_otp");
    let sent = request.json(&json!({"phone": phone})).answer().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let request = gateway.app.post("/auth/verify");
    let body = json!({"phone": phone, "otp": app.read_otp(&phone).await});
    let verified = request.json(&body).answer().await;
    let registration = json!({
        "registration_token": verified.body["registration_token"],
        "username": random_username("short"),
        "sex": "other",
        "dob": "1999-12-31",
        "role": "user",
    });
    let request = gateway.app.post("/auth/register");
    let registered = request.json(&registration).answer().await;
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
async fn requests_without_a_valid_token_reach_only_open_endpoints() {
    let users = TestUsers::sign_up_all().await;
    let gone = users.app.sign_up(UserRole::User).await;
    let logout = users.app.post("/auth/logout").as_user(&gone).answer().await;
    assert_eq!(logout.status, 200, "{logout:?}");
    let expired = obtain_expired_token(&users.app).await;
    let refused_tokens = [
        (None, "missing_token"),
        (Some("nonsense"), "invalid_token"),
        (Some(users.user.refresh_token.as_str()), "invalid_token"),
        (Some(expired.as_str()), "token_expired"),
        (Some(gone.access_token.as_str()), "token_revoked"),
    ];
    for operation in users.document.list_operations() {
        for (token, expected) in refused_tokens {
            let answer = users.answer(&operation, token).await;
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
async fn every_role_has_exactly_the_documented_access() {
    let users = TestUsers::sign_up_all().await;
    let people = [
        ("user", &users.user),
        ("listener", &users.listener),
        ("admin", &users.admin),
    ];
    for operation in users.document.list_operations() {
        let name = operation.name();
        let refusal = match operation.access_rule() {
            AccessRule::Open => continue,
            AccessRule::LoggedIn => None,
            AccessRule::Role(role) => Some(role),
        };
        for (role, person) in people {
            let answer = if ENDS_SESSION.contains(&name.as_str()) {
                let person = users.sign_up_with_role(role).await;
                users.answer(&operation, Some(&person.access_token)).await
            } else {
                users.answer(&operation, Some(&person.access_token)).await
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
async fn nobody_reaches_data_of_others() {
    let users = TestUsers::sign_up_all().await;
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let sessions = pair
        .app
        .get("/auth/sessions")
        .as_user(&pair.caller)
        .answer()
        .await;
    let session_id = sessions.body["sessions"][0]["session_id"].clone();
    for operation in users.document.list_operations() {
        let name = operation.name();
        if operation.access_rule() == AccessRule::Open {
            continue;
        }
        for parameter in operation.path_parameters() {
            let owned = OWNERSHIP.iter().find(|(known, _)| *known == parameter);
            let (_, ownership) =
                owned.unwrap_or_else(|| panic!("{name}: OWNERSHIP has no line for {parameter}"));
            let IdOwnership::Refused(status) = ownership else {
                continue;
            };
            let id = match parameter {
                "call_id" => call_id.to_string(),
                "withdrawal_id" => UNUSED_ID.to_owned(),
                "session_id" => session_id.as_str().expect("a session").to_owned(),
                other => panic!("{name}: the test has no {other}"),
            };
            let outsider = users.user.access_token.as_str();
            let answer = users
                .build_request(&operation, &id)
                .bearer(outsider)
                .answer()
                .await;
            assert_eq!(answer.status, *status, "{name}: {answer:?}");
        }
    }
    let own = pair.load_ongoing_call(&pair.caller).await;
    assert_eq!(own["call_id"], call_id, "the call is still live");
    let sessions = pair
        .app
        .get("/auth/sessions")
        .as_user(&pair.caller)
        .answer()
        .await;
    assert_ne!(sessions.body["sessions"], Value::Null, "{sessions:?}");
    pair.end_call(&pair.caller, call_id).await;
}
