//! The command `docs`: generates the committed documents that the gateway prints.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, BuildTargets};
use crate::progress;
use crate::settings::BuildProfile;
use crate::stack::{DevStack, workspace_root};

const GATEWAY: &str = "talktime-gateway";
/// The documents: the command of the gateway that prints one, and its file.
const DOCUMENTS: [(&str, &str); 2] = [
    ("openapi", "docs/openapi.json"),
    ("asyncapi", "docs/asyncapi.json"),
];

/// The command `docs`.
pub(crate) fn write_documents(stack: &DevStack) -> Result<()> {
    stack.create_dirs()?;
    let program = stack.binary(GATEWAY);
    // The tests, which usually run next, use the same build.
    cargo::build_programs(
        stack,
        BuildProfile::Failpoints,
        &BuildTargets::single(GATEWAY),
    )?;
    for (command, file) in DOCUMENTS {
        let output = Command::new(&program)
            .arg(command)
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(
            output.status.success(),
            "{GATEWAY} {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(workspace_root().join(file), output.stdout)
            .with_context(|| format!("cannot write {file}"))?;
        progress::print_status(file, "written", "");
    }
    Ok(())
}
