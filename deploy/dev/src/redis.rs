//! The Redis of a stack and those of its media relays.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::install;

/// Returns the command that runs a Redis on this port, without snapshots and log.
pub(crate) fn build_volatile_redis_command(port: u16, folder: &Path) -> Result<Command> {
    let mut command = Command::new(install::find_program("redis-server")?);
    command
        .args(["--bind", "127.0.0.1", "--daemonize", "no"])
        .args(["--appendonly", "no", "--save", ""])
        .args(["--port", &port.to_string()])
        .arg("--dir")
        .arg(folder);
    Ok(command)
}
