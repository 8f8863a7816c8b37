//! Creates the databases of a stack with the roles and schemas of all services.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::progress::ProgressStep;
use crate::secrets::{self, POSTGRES_PASSWORD};
use crate::stack::{DevStack, workspace_root};
use crate::unit::{GRPC_SERVICES, StackUnit};
use crate::{identities, install};

/// The database of the services.
pub(crate) const DATABASE: &str = "talktime";
/// A database with schemas and grants but no tables, for tests to copy.
pub(crate) const TEMPLATE_DATABASE: &str = "talktime_template";

/// Time limit of psql for a connection.
const CONNECT_TIMEOUT_SECS: &str = "5";

/// Creates both databases with the roles and schemas of all services, as far as they do not exist.
pub(crate) fn bootstrap_databases(stack: &DevStack) -> Result<()> {
    let step = ProgressStep::start("databases");
    for database in [DATABASE, TEMPLATE_DATABASE] {
        create_database(stack, database)?;
        for service in GRPC_SERVICES {
            bootstrap_service(stack, database, service)?;
        }
    }
    step.finish("ready");
    Ok(())
}

fn create_database(stack: &DevStack, database: &str) -> Result<()> {
    // CREATE DATABASE knows no IF NOT EXISTS; \gexec runs the rows of the query as statements.
    let sql = format!(
        "SELECT 'CREATE DATABASE {database}' \
         WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{database}') \\gexec\n"
    );
    let mut child = build_psql_command(stack, "postgres")?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run psql")?;
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(sql.as_bytes())?;
    let output = child.wait_with_output().context("cannot run psql")?;
    require_success(&output, &format!("creating the database {database}"))
}

fn bootstrap_service(stack: &DevStack, database: &str, service: StackUnit) -> Result<()> {
    let output = build_psql_command(stack, database)?
        .arg("-v")
        .arg(format!("service={}", service.name()))
        .arg("-v")
        .arg(format!(
            "owner_password={}",
            secrets::owner_password(service)
        ))
        .arg("-v")
        .arg(format!("app_password={}", secrets::app_password(service)))
        .arg("-f")
        .arg(workspace_root().join("deploy/postgres/bootstrap.sql"))
        .stdin(Stdio::null())
        .output()
        .context("cannot run psql")?;
    require_success(
        &output,
        &format!("bootstrapping {} in {database}", service.name()),
    )
}

fn build_psql_command(stack: &DevStack, database: &str) -> Result<Command> {
    let mut command = Command::new(install::find_postgres_bin()?.join("psql"));
    command
        .args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"])
        .args(["--host=127.0.0.1", "--username=postgres"])
        .arg(format!("--port={}", stack.main_port(StackUnit::Postgres)))
        .arg(format!("--dbname={database}"))
        .env("PGPASSWORD", POSTGRES_PASSWORD)
        .env("PGSSLMODE", "verify-full")
        .env(
            "PGSSLROOTCERT",
            identities::authority_file(stack, StackUnit::Postgres),
        )
        .env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT_SECS);
    Ok(command)
}

/// Whether the server accepts the password and answers.
pub(crate) fn is_answering(stack: &DevStack) -> bool {
    build_psql_command(stack, "postgres").is_ok_and(|mut command| {
        command
            .arg("--command=SELECT 1")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

/// Returns the standard error output of a failed command as an error.
pub(crate) fn require_success(output: &Output, action: &str) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    bail!("{action} failed: {}", complaint.trim());
}
