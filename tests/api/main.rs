//! The API as tools of app developers use it: generated requests, a generated client, and the examples of the
//! documentation.

mod snippets;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use talktime_client::UserRole;
use talktime_tests::{connect_app, read_variable};
use tokio::process::Command;

/// Time limit of a tool; its installation takes most of it.
const TOOL_TIMEOUT: Duration = Duration::from_mins(10);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a script of the repository and fails with its output.
async fn run_tool(mut command: Command) {
    let output = command
        .current_dir(repository())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TOOL_TIMEOUT, output).await;
    let output = output.expect("it ends in time").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

fn script(path: &str) -> Command {
    let mut command = Command::new(repository().join(path));
    command.env("GATEWAY_URL", read_variable("GATEWAY_URL"));
    command
}

#[tokio::test]
async fn answers_to_generated_requests_match_the_document() {
    let app = connect_app().await;
    let user = app.sign_up(UserRole::User).await;
    let listener = app.sign_up(UserRole::Listener).await;
    let admin = app.sign_up_admin().await;
    let mut command = script("tests/schemathesis/run");
    command
        .env("USER_TOKEN", &user.access_token)
        .env("LISTENER_TOKEN", &listener.access_token)
        .env("ADMIN_TOKEN", &admin.access_token);
    run_tool(command).await;
}

#[tokio::test]
async fn a_typed_client_generated_from_the_document_works() {
    let app = connect_app().await;
    let user = app.sign_up(UserRole::User).await;
    let mut command = script("tests/typescript/run");
    command.env("USER_TOKEN", &user.access_token);
    run_tool(command).await;
}
