//! Outside of development no process starts with the address of a store in clear.

use talktime_tests::{WAIT_MAX, run_dev_output};
use tokio::time::timeout;

/// Processes with the command that serves, and the address that each of them must refuse. No server listens there.
const ADDRESSES: [(&str, &str, &str, &str); 7] = [
    ("gateway", "serve", "NATS__URL", "nats://127.0.0.1:1"),
    ("gateway", "serve", "REDIS__URL", "redis://127.0.0.1:1"),
    ("auth", "serve", "REDIS__URL", "redis://127.0.0.1:1"),
    ("calls", "serve", "REDIS__URL", "redis://127.0.0.1:1"),
    ("profile", "serve", "NATS__URL", "nats://127.0.0.1:1"),
    (
        "relay-agent",
        "relay-agent",
        "NATS__URL",
        "nats://127.0.0.1:1",
    ),
    (
        "relay-agent",
        "relay-agent",
        "REDIS__URL",
        "redis://redis:1",
    ),
];

#[tokio::test]
async fn no_process_of_production_reaches_nats_or_redis_in_clear() {
    for (process, command, setting, url) in ADDRESSES {
        let prefix = format!("TALKTIME_{}__", process.to_uppercase().replace('-', "_"));
        let environment = format!("{prefix}ENVIRONMENT=production");
        let address = format!("{prefix}{setting}={url}");
        let arguments = [
            "run",
            "--env",
            &environment,
            "--env",
            &address,
            process,
            command,
        ];
        let ended = timeout(WAIT_MAX, run_dev_output(&arguments)).await;
        let output = ended.unwrap_or_else(|_| panic!("{process} serves with {url}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{process}: {errors}");
        let refusal = format!("{prefix}{setting} needs ");
        assert!(errors.contains(&refusal), "{process}: {errors}");
    }
}
