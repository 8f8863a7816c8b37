//! The parts a stack stands on: Postgres, Redis, NATS and an S3 server, each in its own folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::env::BUCKET;
use crate::secrets::{S3_ACCESS_KEY, S3_SECRET_KEY};
use crate::stack::{self, Stack};
use crate::unit::Unit;
use crate::{cluster, install};

/// What must be there before the parts can start.
pub(crate) fn prepare(stack: &Stack) -> Result<()> {
    for unit in [Unit::Redis, Unit::Nats, Unit::S3] {
        let folder = data_dir(stack, unit);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    cluster::prepare(stack)
}

/// Deletes what one of them keeps. Everything that Postgres keeps goes with the whole stack only.
pub(crate) fn wipe(stack: &Stack, unit: Unit) -> Result<()> {
    match unit {
        Unit::Redis | Unit::Nats | Unit::S3 => stack::remove_dir(&data_dir(stack, unit)),
        _ => bail!("only redis, nats and s3 are wiped one by one"),
    }
}

/// The command that runs Redis. It holds nothing that may not be lost: no snapshots, no log.
pub(crate) fn redis(stack: &Stack) -> Result<Command> {
    let mut command = Command::new(install::program("redis-server")?);
    command
        .args(["--bind", "127.0.0.1", "--daemonize", "no"])
        .args(["--appendonly", "no", "--save", ""])
        .args(["--port", &stack.main_port(Unit::Redis).to_string()])
        .arg("--dir")
        .arg(data_dir(stack, Unit::Redis));
    Ok(command)
}

/// The command that runs NATS, with `JetStream` on disk and monitoring over HTTP.
pub(crate) fn nats(stack: &Stack) -> Result<Command> {
    let mut command = Command::new(install::program("nats-server")?);
    command
        .args(["--addr", "127.0.0.1", "--jetstream"])
        .args(["--port", &stack.main_port(Unit::Nats).to_string()])
        .arg("--store_dir")
        .arg(data_dir(stack, Unit::Nats));
    if let Some(port) = stack.ops_port(Unit::Nats) {
        command.args(["--http_port", &port.to_string()]);
    }
    Ok(command)
}

/// The command that runs our own S3 server (package talktime-dev-s3).
pub(crate) fn s3(stack: &Stack) -> Command {
    let mut command = Command::new(stack.binary("talktime-dev-s3"));
    command
        .args([
            "--listen",
            &format!("127.0.0.1:{}", stack.main_port(Unit::S3)),
        ])
        .args(["--access-key", S3_ACCESS_KEY, "--secret-key", S3_SECRET_KEY])
        .args(["--bucket", BUCKET])
        .arg("--root")
        .arg(data_dir(stack, Unit::S3));
    command
}

fn data_dir(stack: &Stack, unit: Unit) -> PathBuf {
    stack.data_dir().join(unit.name())
}
