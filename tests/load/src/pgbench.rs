//! pgbench: the limit of the same Postgres doing the same work in one transaction.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::stack::Stack;

/// More would only take processor time from the server.
const THREADS: &str = "2";
/// The line that says how many transactions a second there were.
const FIGURE: &str = "tps = ";

/// A script of pgbench, ready to run.
pub(crate) struct Pgbench {
    program: String,
    database_url: String,
    script: NamedTempFile,
}

impl Pgbench {
    pub(crate) fn new(stack: &Stack, script: &str) -> anyhow::Result<Self> {
        let mut file = NamedTempFile::new()?;
        file.write_all(script.as_bytes())?;
        Ok(Self {
            program: stack.pgbench.clone(),
            database_url: stack.database_url.clone(),
            script: file,
        })
    }

    /// Transactions a second, by so many clients at a time.
    pub(crate) async fn run(&self, clients: usize, duration: Duration) -> anyhow::Result<f64> {
        let output = Command::new(&self.program)
            .args(["--no-vacuum", "--protocol=prepared", "--jobs", THREADS])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", duration.as_secs()))
            .arg("--file")
            .arg(self.script.path())
            .arg(&self.database_url)
            .output()
            .await
            .context("cannot run pgbench")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
        }
        let figure = said.lines().find_map(|line| line.strip_prefix(FIGURE));
        let figure = figure.and_then(|rest| rest.split_whitespace().next());
        figure
            .and_then(|figure| figure.parse().ok())
            .with_context(|| format!("pgbench said no rate: {said}"))
    }
}
