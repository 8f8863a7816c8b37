//! `docs`: writes anew what is committed of what the gateway says of itself.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, Targets};
use crate::progress;
use crate::settings::Build;
use crate::stack::{Stack, workspace_root};

const GATEWAY: &str = "talktime-gateway";
/// Each document: the gateway's command that prints it, and its file.
const DOCUMENTS: [(&str, &str); 2] = [
    ("openapi", "docs/openapi.json"),
    ("asyncapi", "docs/asyncapi.json"),
];

/// The command `docs`.
pub(crate) fn write(stack: &Stack) -> Result<()> {
    stack.make_dirs()?;
    let program = stack.binary(GATEWAY);
    // As the tests are built: who writes the documents is about to run them.
    cargo::build(stack, Build::Failpoints, &Targets::Program(GATEWAY))?;
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
        progress::note(file, "written", "");
    }
    Ok(())
}
