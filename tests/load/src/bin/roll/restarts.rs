//! The roll: each process of each service, one after another, by the runner.

use std::time::Duration;

use anyhow::ensure;
use tokio::process::Command;

use crate::edge::variable;

/// In the order of a release: who is asked before who asks.
const SERVICES: [&str; 7] = [
    "profile",
    "presence",
    "wallet",
    "calls",
    "verification",
    "auth",
    "gateway",
];
/// A replica counts when it has been ready for so long, as in `k8s/base/process`: by then everybody
/// has found it.
const READY_FOR: Duration = Duration::from_secs(3);

/// Restarts both replicas of everything.
pub(crate) async fn all() -> anyhow::Result<()> {
    for service in SERVICES {
        for instance in [service.to_owned(), format!("{service}-2")] {
            runner(&["restart", &instance, "--no-build"]).await?;
            tokio::time::sleep(READY_FOR).await;
        }
    }
    Ok(())
}

/// Fails where a wallet disagrees with its journal.
pub(crate) async fn verify_wallets() -> anyhow::Result<()> {
    runner(&["run", "wallet", "verify"]).await
}

async fn runner(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(variable("TALKTIME_DEV")?)
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
