//! The identities of a stack's processes: certificates of an authority of the stack's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stack::{self, DevStack};
use crate::unit::StackUnit;

/// The script that issues them, relative to the root of the workspace.
const SCRIPT: &str = "deploy/identities/issue";

/// Returns the folder with a folder for each process.
pub(crate) fn identities_dir(stack: &DevStack) -> PathBuf {
    stack.secrets_dir().join("identities")
}

/// Returns the folder with the certificate of a process or a store, its key and the trusted authority.
pub(crate) fn identity_dir(stack: &DevStack, unit: StackUnit) -> PathBuf {
    identities_dir(stack).join(unit.name())
}

/// Returns the file with the authority that has issued the certificate of a store.
pub(crate) fn authority_file(stack: &DevStack, store: StackUnit) -> PathBuf {
    identity_dir(stack, store).join("ca.crt")
}

/// Returns the files that hold private keys.
pub(crate) fn list_key_files(stack: &DevStack) -> Result<Vec<PathBuf>> {
    let mut keys = Vec::new();
    for folder in fs::read_dir(identities_dir(stack)).context("cannot list the identities")? {
        for file in fs::read_dir(folder?.path()).context("cannot list an identity")? {
            let path = file?.path();
            keys.extend((path.extension() == Some("key".as_ref())).then_some(path));
        }
    }
    Ok(keys)
}

/// Issues the identities that are missing or about to expire.
pub(crate) fn issue_identities(stack: &DevStack) -> Result<()> {
    let output = Command::new(stack::workspace_root().join(SCRIPT))
        .arg(identities_dir(stack))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {SCRIPT}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{SCRIPT} failed: {}", complaint.trim());
    }
    Ok(())
}
