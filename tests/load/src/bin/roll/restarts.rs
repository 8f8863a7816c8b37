//! Restarts each process of each service, one after another, with the runner.

use std::time::Duration;

use anyhow::ensure;
use tokio::process::Command;

use crate::balancer::read_variable;

/// Services in the order of a release: callees before their callers.
const SERVICES: [&str; 7] = [
    "profile",
    "presence",
    "wallet",
    "calls",
    "verification",
    "auth",
    "gateway",
];
/// Time for which a replica must be ready before the next restart, as in `k8s/base/process`; by then all clients have
/// found it.
const READY_FOR: Duration = Duration::from_secs(3);

/// Restarts both replicas of everything.
pub(crate) async fn restart_all() -> anyhow::Result<()> {
    for service in SERVICES {
        for instance in [service.to_owned(), format!("{service}-2")] {
            run_dev(&["restart", &instance, "--no-build"]).await?;
            tokio::time::sleep(READY_FOR).await;
        }
    }
    Ok(())
}

/// Fails if wallets and journal differ.
pub(crate) async fn verify_wallets() -> anyhow::Result<()> {
    run_dev(&["run", "wallet", "verify"]).await
}

async fn run_dev(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(read_variable("TALKTIME_DEV")?)
        .args(["--stack", "roll"])
        .args(arguments)
        .status()
        .await?;
    ensure!(
        status.success(),
        "cargo dev {}: {status}",
        arguments.join(" ")
    );
    Ok(())
}
