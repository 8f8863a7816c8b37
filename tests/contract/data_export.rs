//! The export of one's own data.

use std::io::{Cursor, Read};

use serde_json::Value;
use talktime_client::{AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, WAIT_MAX, object_store_client, wait_for};
use zip::ZipArchive;

use crate::assert_problem;

type Archive = ZipArchive<Cursor<Vec<u8>>>;

async fn fetch_archive(url: &Value) -> Archive {
    let url = url.as_str().expect("an address");
    let response = object_store_client().get(url).send().await;
    let response = response.expect("the store answers");
    assert_eq!(response.status().as_u16(), 200);
    let bytes = response.bytes().await.expect("a body").to_vec();
    ZipArchive::new(Cursor::new(bytes)).expect("an archive")
}

fn read_section(archive: &mut Archive, name: &str) -> Vec<Value> {
    let mut text = String::new();
    let mut file = archive.by_name(&format!("{name}.json")).expect(name);
    file.read_to_string(&mut text).expect("text");
    serde_json::from_str(&text).expect("a list")
}

/// Requests an export and waits until it is ready.
async fn export(app: &TestApp, person: &AppUser) -> Value {
    let requested = app.post("/users/me/export").as_user(person).answer().await;
    assert_eq!(requested.status, 202, "{requested:?}");
    assert_eq!(requested.body["status"], "pending");
    wait_for("the export to be ready", || async {
        let export = app.get("/users/me/export").as_user(person).answer().await;
        (export.body["status"] == "ready").then_some(export.body)
    })
    .await
}

#[tokio::test]
async fn an_export_contains_the_data_of_every_service() {
    let pair = CallPair::sign_up().await;
    let cancelled_id = pair.start_ring().await;
    let cancelled = pair.end_call(&pair.caller, cancelled_id).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let call_id = pair.start_ring().await;
    let accepted = pair.accept_ring(call_id).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let mut socket = pair
        .app
        .open_socket("/ws/notifications", &pair.caller)
        .await;
    let ready = export(&pair.app, &pair.caller).await;
    let message = socket.receive_type("data_export_ready", WAIT_MAX).await;
    let message = message.expect("a message");
    assert_eq!(
        message["data"]["export_id"], ready["export_id"],
        "{message}"
    );

    let mut archive = fetch_archive(&ready["download_url"]).await;
    let profile = read_section(&mut archive, "profile/profile");
    assert_eq!(profile[0]["phone"], pair.caller.phone);
    assert_eq!(profile[0]["username"], pair.caller.username);
    let calls = read_section(&mut archive, "calls/calls");
    assert_eq!(calls[0]["call_id"], call_id);
    assert_eq!(calls[0]["role"], "caller");
    assert_eq!(calls[0]["money_earned"], Value::Null, "the listener's data");
    assert!(calls[0]["accepted_at"].is_string(), "{calls:?}");
    assert_eq!(calls[0]["ended_by"], "caller");
    let unanswered = read_section(&mut archive, "calls/unanswered_calls");
    assert_eq!(unanswered[0]["call_id"], cancelled_id);
    assert_eq!(unanswered[0]["outcome"], "cancelled");
    let transactions = read_section(&mut archive, "wallet/transactions");
    assert!(!transactions.is_empty());
    for section in [
        "auth/security_events",
        "presence/status",
        "wallet/wallet",
        "profile/roles",
    ] {
        assert!(!read_section(&mut archive, section).is_empty(), "{section}");
    }
    for section in [
        "verification/photos",
        "wallet/call_earnings",
        "calls/badges",
        "calls/answer_rate",
    ] {
        assert!(read_section(&mut archive, section).is_empty(), "{section}");
    }
    let readme = archive.by_name("README.txt");
    assert!(readme.is_ok(), "the archive explains itself");
}

#[tokio::test]
async fn a_user_gets_one_export_a_day_and_nobody_else_gets_it() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let other = app.sign_up(UserRole::User).await;
    let missing = app.get("/users/me/export").as_user(&person).answer().await;
    assert_problem(&missing, 404, "export_not_found");
    let ready = export(&app, &person).await;
    let again = app.post("/users/me/export").as_user(&person).answer().await;
    assert_problem(&again, 409, "export_too_soon");
    let missing = app.get("/users/me/export").as_user(&other).answer().await;
    assert_problem(&missing, 404, "export_not_found");
    let url = ready["download_url"].as_str().expect("an address");
    let (unsigned, _) = url.split_once('?').expect("a signature");
    let refused = object_store_client().get(unsigned).send().await;
    let refused = refused.expect("answered");
    assert_eq!(refused.status().as_u16(), 403, "the bucket is private");
}

#[tokio::test]
async fn an_export_ends_with_the_account() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    export(&app, &person).await;
    let deleted = app.delete("/users/me").as_user(&person).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    let url = talktime_tests::read_variable("VERIFICATION_APP_DATABASE_URL");
    let pool = sqlx::PgPool::connect(&url).await.expect("connected");
    wait_for("the row of the export to be deleted", || async {
        let query = "SELECT count(*) FROM verification.data_exports WHERE user_id = $1";
        let rows: i64 = sqlx::query_scalar(query)
            .bind(person.user_id)
            .fetch_one(&pool)
            .await
            .expect("readable");
        (rows == 0).then_some(())
    })
    .await;
}
