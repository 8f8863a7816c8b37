//! The Redis of a stack and those of its media relays.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::install;

/// Returns the command that runs a Redis without snapshots and log; options with its port must follow. Its upkeep runs once a
/// second instead of ten times, since a stack without users should cost next to nothing.
pub(crate) fn build_volatile_redis_command(folder: &Path) -> Result<Command> {
    let mut command = Command::new(install::find_program("redis-server")?);
    command
        .args(["--bind", "127.0.0.1", "--daemonize", "no"])
        .args(["--appendonly", "no", "--save", "", "--hz", "1"])
        .arg("--dir")
        .arg(folder);
    Ok(command)
}
