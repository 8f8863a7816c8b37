//! Requests about samples, which several tests share.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser};
use talktime_tests::audio::{FORM_TYPE, form};
use talktime_tests::{ExpectAnswer, TestApp, object_store_client};

pub(crate) async fn upload_file(app: &TestApp, person: &AppUser, file: &[u8]) -> ApiAnswer {
    upload_form(app, person, form("sample.mp3", file, Some("my voice"))).await
}

pub(crate) async fn upload_form(app: &TestApp, person: &AppUser, form: Vec<u8>) -> ApiAnswer {
    let request = app.post("/verification/upload-audio-file").as_user(person);
    request.body(FORM_TYPE, form).answer().await
}

pub(crate) async fn read_status(app: &TestApp, person: &AppUser) -> Value {
    let answer = app
        .get("/verification/status")
        .as_user(person)
        .answer()
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

pub(crate) async fn fetch_address(address: &Value) -> (u16, Vec<u8>) {
    let address = address.as_str().expect("an address");
    let response = object_store_client().get(address).send().await;
    let response = response.expect("the store answers");
    let status = response.status().as_u16();
    (status, response.bytes().await.expect("a body").to_vec())
}

pub(crate) async fn review_sample(
    app: &TestApp,
    admin: &AppUser,
    id: &Value,
    action: &str,
) -> ApiAnswer {
    let body = json!({"verification_id": id, "action": action, "reviewer_notes": "heard"});
    let request = app.post("/admin/verification/review").as_user(admin);
    request.json(&body).answer().await
}
