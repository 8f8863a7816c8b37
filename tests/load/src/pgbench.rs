//! Runs pgbench, which shows the limit of the same Postgres for the same work in one transaction.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::stack::BenchStack;

/// Threads of pgbench; more would take processor time from the server.
const THREADS: &str = "2";
/// Beginning of the line with the transactions a second.
const FIGURE: &str = "tps = ";

/// A script for pgbench.
pub(crate) struct PgbenchScript {
    program: String,
    database_url: String,
    script: NamedTempFile,
}

impl PgbenchScript {
    pub(crate) fn new(stack: &BenchStack, script: &str) -> anyhow::Result<Self> {
        let mut file = NamedTempFile::new()?;
        file.write_all(script.as_bytes())?;
        Ok(Self {
            program: stack.pgbench.clone(),
            database_url: stack.database_url.clone(),
            script: file,
        })
    }

    /// Runs the script; returns the transactions a second.
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
        let output_text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
        }
        let figure = output_text
            .lines()
            .find_map(|line| line.strip_prefix(FIGURE));
        let figure = figure.and_then(|rest| rest.split_whitespace().next());
        figure
            .and_then(|figure| figure.parse().ok())
            .with_context(|| format!("pgbench printed no rate: {output_text}"))
    }
}
