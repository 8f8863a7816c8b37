//! The configuration that apps read at their start.

use serde_json::{Value, json};
use talktime_client::ApiClient;
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, connect_app, wait_for};

use crate::assert_fields;

#[tokio::test]
async fn everybody_may_read_the_configuration_and_cache_it_for_a_minute() {
    let app = connect_app().await;
    let answer = app.get("/app/config").answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let fields = [
        "min_versions",
        "maintenance",
        "ring",
        "media",
        "features",
        "legal",
        "support",
    ];
    assert_fields(&answer.body, &fields);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(
        answer.header("ratelimit-limit"),
        None,
        "no limit by address"
    );

    let etag = answer.header("etag").expect("a tag").to_owned();
    let unchanged = app.get("/app/config").header("if-none-match", &etag);
    let unchanged = unchanged.answer().await;
    assert_eq!((unchanged.status, &unchanged.body), (304, &Value::Null));
    assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
    let other = app.get("/app/config").header("if-none-match", "\"other\"");
    assert_eq!(other.answer().await.status, 200);
}

#[tokio::test]
async fn a_change_of_the_file_is_answered_without_a_restart() {
    let path = std::env::temp_dir().join(format!("app-config-{}.json", std::process::id()));
    let write = |content: Value| std::fs::write(&path, content.to_string()).expect("written");
    write(json!({"min_versions": {"android": "1.2.3"}}));
    let file = path.to_str().expect("UTF-8");
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__APP_CONFIG_FILE", file)]).await;
    let read_config = async |gateway: &ApiClient| gateway.get("/app/config").answer().await;
    let first = read_config(&gateway.app).await;
    assert_eq!(first.body["min_versions"]["android"], "1.2.3", "{first:?}");

    write(json!({"maintenance": {"active": true, "message": "Back at noon"}}));
    let second = wait_for("the message", || async {
        let answer = read_config(&gateway.app).await;
        (answer.body["maintenance"]["active"] == true).then_some(answer)
    })
    .await;
    assert_eq!(second.body["maintenance"]["message"], "Back at noon");
    assert_ne!(second.header("etag"), first.header("etag"));
    std::fs::remove_file(&path).expect("removed");
}
