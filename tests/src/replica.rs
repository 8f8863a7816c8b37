//! A second gateway beside the one of the stack, as production has several.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use talktime_client::App;
use tokio::process::{Child, Command};

use crate::{variable, wait_for};

/// A gateway of a test's own; it ends with the value.
pub struct Replica {
    /// The app, talking to this gateway.
    pub app: App,
    /// Killed when it is dropped.
    _process: Child,
}

/// Starts a gateway with these settings besides the stack's, such as
/// `("TALKTIME_GATEWAY__REDIS__URL", …)`, and waits until it serves.
pub async fn second_gateway(settings: &[(&str, &str)]) -> Replica {
    let (http, ops) = (free_address(), free_address());
    let own = [
        ("TALKTIME_GATEWAY__HTTP__LISTEN", http.as_str()),
        ("TALKTIME_GATEWAY__OPS__LISTEN", ops.as_str()),
    ];
    let mut command = Command::new(variable("TALKTIME_DEV"));
    command.args(["--stack", "test", "run"]);
    for (name, value) in own.iter().chain(settings) {
        command.args(["--env", &format!("{name}={value}")]);
    }
    // The runner becomes the gateway, so that this is the process to end.
    let process = command
        .args(["gateway", "serve"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the runner runs");
    wait_until_ready(&ops).await;
    Replica {
        app: App::new(&format!("http://{http}")).expect("a valid address"),
        _process: process,
    }
}

async fn wait_until_ready(ops: &str) {
    let url = format!("http://{ops}/readyz");
    wait_for("a second gateway", || async {
        let answer = reqwest::get(&url).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

/// An address that nobody listens on.
fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it has one").to_string()
}
