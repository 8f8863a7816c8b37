//! Every request of an admin is an entry of the audit log, reads included, with the admin, the session, the address and
//! the reason; and one that cannot be recorded is refused.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use talktime_client::{ApiAnswer, ApiClient, AppUser, UserRole, random_username};
use talktime_tests::document::{AccessRule, ApiDocument};
use talktime_tests::replica::{start_auth, start_gateway, start_wallet};
use talktime_tests::{
    ExpectAnswer, TestApp, connect_app, read_database_url, read_variable, run_dev,
};

use crate::assert_problem;

/// An id that does not exist.
const UNUSED_ID: &str = "9007199254740991";
const REASON: &str = "ticket 7: शिकायत";

/// An entry: action, method, session, address and reason.
type AuditEntry = (
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

async fn list_entries(person: &AppUser) -> Vec<AuditEntry> {
    let url = read_variable("AUTH_APP_DATABASE_URL");
    let auth = PgPool::connect_lazy(&url).expect("a valid url");
    sqlx::query_as(
        "SELECT action, detail, session_id, client_address, reason FROM auth.audit_log
         WHERE user_id = $1 AND action LIKE 'admin_%' ORDER BY audit_id",
    )
    .bind(person.user_id)
    .fetch_all(&auth)
    .await
    .expect("readable")
}

async fn read_session(app: &TestApp, person: &AppUser) -> String {
    let sessions = app.get("/auth/sessions").as_user(person).answer().await;
    let session = sessions.body["sessions"][0]["session_id"].as_str();
    session.expect("a session").to_owned()
}

#[tokio::test]
async fn every_request_of_an_admin_is_an_entry() {
    let app = connect_app().await;
    let document = ApiDocument::read(&app).await;
    let admin = app.sign_up_admin().await;
    let mut expected = 0;
    for operation in document.list_operations() {
        if operation.access_rule() != AccessRule::Role("admin".to_owned()) {
            continue;
        }
        let method = operation.method.parse().expect("a method");
        let request = app.request(method, &operation.fill_path(UNUSED_ID));
        let request = match document.sample_body(&operation) {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request
            .as_user(&admin)
            .header("x-audit-reason", REASON)
            .answer()
            .await;
        expected += 1;
        let entries = list_entries(&admin).await;
        let name = operation.name();
        assert_eq!(entries.len(), expected, "{name}: {answer:?}, {entries:?}");
    }
    assert!(expected >= 11, "{expected} operations");
    let session = read_session(&app, &admin).await;
    for (action, method, session_id, address, reason) in list_entries(&admin).await {
        assert_eq!(action, "admin_acted");
        let method = method.expect("a method");
        assert!(method.starts_with("talktime."), "{method}");
        assert_eq!(session_id.as_deref(), Some(session.as_str()), "{method}");
        assert_eq!(address.as_deref(), Some("127.0.0.1"), "{method}");
        assert_eq!(reason.as_deref(), Some(REASON), "{method}");
    }
}

async fn give_coins(app: &TestApp, admin: &AppUser, receiver: &AppUser) -> ApiAnswer {
    let gift = json!({"user_id": receiver.user_id, "coins": 5, "tx_type": "bonus"});
    let request = app.post("/wallet/add-coins").as_user(admin).json(&gift);
    request.answer().await
}

#[tokio::test]
async fn gifts_and_purchases_differ_in_the_log() {
    let app = connect_app().await;
    let admin = app.sign_up_admin().await;
    let receiver = app.sign_up(UserRole::User).await;
    let purchase = json!({"coins": 100, "money_amount": 50});
    let bought = app.post("/wallet/add-coins").as_user(&admin);
    assert_eq!(bought.json(&purchase).answer().await.status, 200);
    assert_eq!(
        list_entries(&admin).await,
        [],
        "an admin who buys is a user"
    );
    let given = give_coins(&app, &admin, &receiver).await;
    assert_eq!(given.status, 200, "{given:?}");
    let entries = list_entries(&admin).await;
    let methods: Vec<_> = entries.iter().map(|entry| entry.1.as_deref()).collect();
    assert_eq!(
        methods,
        [Some("talktime.wallet.v1.WalletService/GiveCoins")]
    );
    assert_eq!(entries[0].4, None, "no reason was given");
}

async fn read_activity(app: &ApiClient, person: &AppUser) -> Value {
    let answer = app.get("/calls/status").as_user(person).answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn the_exact_activity_is_an_entry_and_the_coarse_one_is_none() {
    let app = connect_app().await;
    let (admin, user) = (app.sign_up_admin().await, app.sign_up(UserRole::User).await);
    read_activity(&app, &user).await;
    assert_eq!(list_entries(&user).await, []);
    read_activity(&app, &admin).await;
    let entries = list_entries(&admin).await;
    let methods: Vec<_> = entries.iter().map(|entry| entry.1.as_deref()).collect();
    assert_eq!(
        methods,
        [Some("talktime.calls.v1.CallsService/GetExactActivity")]
    );
}

#[tokio::test]
async fn what_operators_do_is_recorded() {
    let operator = random_username("operator");
    let named = ["--operator", operator.as_str()];
    let archive = ["run", "auth", "archive", "--before", "2000-01"];
    run_dev(&[archive.as_slice(), &named].concat()).await;
    let republish = ["run", "wallet", "republish", "--since-secs", "0"];
    run_dev(&[republish.as_slice(), &named].concat()).await;
    let auth = PgPool::connect_lazy(&read_variable("AUTH_APP_DATABASE_URL")).expect("a valid url");
    let entries: Vec<String> = sqlx::query_scalar(
        "SELECT detail FROM auth.audit_log WHERE action = 'operator_acted' AND detail LIKE '%' || $1",
    )
    .bind(&operator)
    .fetch_all(&auth)
    .await
    .expect("readable");
    assert_eq!(entries, [format!("archive --before 2000-01 by {operator}")]);
    let wallet = PgPool::connect_lazy(&read_database_url("wallet")).expect("a valid url");
    let commands: Vec<String> =
        sqlx::query_scalar("SELECT command FROM wallet.operator_actions WHERE operator_name = $1")
            .bind(&operator)
            .fetch_all(&wallet)
            .await
            .expect("readable");
    assert_eq!(commands, ["republish --since-secs 0"]);
}

#[tokio::test]
async fn a_reason_that_cannot_be_kept_is_refused() {
    let app = connect_app().await;
    let admin = app.sign_up_admin().await;
    let too_long = "x".repeat(201);
    for reason in [" ", too_long.as_str()] {
        let request = app.get("/admin/verification/pending").as_user(&admin);
        let answer = request.header("x-audit-reason", reason).answer().await;
        assert_problem(&answer, 400, "invalid_audit_reason");
    }
    assert_eq!(list_entries(&admin).await, []);
}

#[tokio::test]
async fn the_operator_may_require_a_reason() {
    let app = connect_app().await;
    let admin = app.sign_up_admin().await;
    let auth = start_auth(&[("TALKTIME_AUTH__AUDIT__REQUIRE_REASON", "true")]).await;
    let wallet = start_wallet(&[("TALKTIME_WALLET__PEERS__AUTH", &auth.url)]).await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__WALLET", &wallet.url)]).await;
    let read = || {
        gateway
            .app
            .get("/admin/withdrawals?status=pending")
            .as_user(&admin)
    };
    let refused = read().answer().await;
    assert_problem(&refused, 400, "audit_reason_required");
    assert_eq!(list_entries(&admin).await, []);
    let answer = read().header("x-audit-reason", REASON).answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(list_entries(&admin).await.len(), 1);
}

/// Creates a role that may read the tables of auth and write to none; returns its address.
async fn create_reader() -> String {
    let admin = PgPool::connect_lazy(&read_variable("DATABASE_URL")).expect("a valid url");
    let role = random_username("reader");
    for statement in [
        format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"),
        format!("ALTER ROLE {role} SET search_path = auth"),
        format!("GRANT CONNECT ON DATABASE talktime TO {role}"),
        format!("GRANT USAGE ON SCHEMA auth TO {role}"),
        format!("GRANT SELECT ON ALL TABLES IN SCHEMA auth TO {role}"),
    ] {
        let prepared = sqlx::query(AssertSqlSafe(statement)).execute(&admin);
        prepared.await.expect("a new role");
    }
    let url = read_variable("AUTH_APP_DATABASE_URL");
    let (_, server) = url.split_once('@').expect("a server");
    format!("postgres://{role}:{role}@{server}")
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let app = connect_app().await;
    let admin = app.sign_up_admin().await;
    let receiver = app.sign_up(UserRole::User).await;
    let database = create_reader().await;
    let auth = start_auth(&[("TALKTIME_AUTH__DATABASE__APP_URL", &database)]).await;
    let wallet = start_wallet(&[("TALKTIME_WALLET__PEERS__AUTH", &auth.url)]).await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__WALLET", &wallet.url)]).await;
    let read = gateway.app.get("/admin/withdrawals?status=pending");
    let answer = read.as_user(&admin).answer().await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let gift = json!({"user_id": receiver.user_id, "coins": 5, "tx_type": "bonus"});
    let request = gateway.app.post("/wallet/add-coins").as_user(&admin);
    let answer = request.json(&gift).answer().await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let balance = app.get("/wallet/balance").as_user(&receiver).answer().await;
    assert_eq!(balance.body["balance_coins"], Value::from(0), "{balance:?}");
}
