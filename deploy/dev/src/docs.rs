//! The command `docs`: generates the committed documents that programs of the platform print.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, BuildTargets};
use crate::parts::{NATS_USERS, REDIS_USERS, STORES_PROGRAM};
use crate::progress;
use crate::settings::BuildProfile;
use crate::stack::{DevStack, workspace_root};

const GATEWAY: &str = "talktime-gateway";
/// The documents: the program and its command that print one, and its file.
const DOCUMENTS: [(&str, &str, &str); 5] = [
    (GATEWAY, "openapi", "docs/openapi.json"),
    (GATEWAY, "asyncapi", "docs/asyncapi.json"),
    (STORES_PROGRAM, "nats-users", NATS_USERS),
    (STORES_PROGRAM, "redis-users", REDIS_USERS),
    (
        STORES_PROGRAM,
        "sentinel-users",
        "deploy/redis/sentinel-users.acl",
    ),
];

/// The command `docs`.
pub(crate) fn write_documents(stack: &DevStack) -> Result<()> {
    stack.create_dirs()?;
    // The tests, which usually run next, use the same build.
    cargo::build_programs(
        stack,
        BuildProfile::Failpoints,
        &BuildTargets::Programs([GATEWAY, STORES_PROGRAM].map(str::to_owned).into()),
    )?;
    for (name, command, file) in DOCUMENTS {
        let program = stack.binary(name);
        let output = Command::new(&program)
            .arg(command)
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(
            output.status.success(),
            "{name} {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(workspace_root().join(file), output.stdout)
            .with_context(|| format!("cannot write {file}"))?;
        progress::print_status(file, "written", "");
    }
    Ok(())
}
