//! Nothing is left running, however the runner ends.
//!
//! Beside the stack the runner starts itself a second time as `reap`, with a pipe as its standard
//! input. Only the runner holds the other end (the standard library keeps it from every other child),
//! so when the runner dies in whatever way, SIGKILL included, the kernel closes the pipe, the reaper
//! reads the end of its input, and stops whatever the pid files name.
//!
//! Its standard output is no output but the stack's lock: as long as it clears away, it holds it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::lifecycle;
use crate::lock::Lock;
use crate::process::{Process, STOP_DEADLINE};
use crate::stack::Stack;

/// What the runner writes into the pipe when it needs the reaper no longer.
const DISMISSED: &[u8] = b"dismissed";

pub(crate) struct Reaper {
    child: Child,
}

impl Reaper {
    pub(crate) fn spawn(stack: &Stack, runner: &Path, lock: &Lock) -> Result<Self> {
        let log = File::create(stack.log("reaper")).context("cannot write the reaper's log")?;
        let child = Command::new(runner)
            .args(["--stack", stack.name(), "reap"])
            .stdin(Stdio::piped())
            .stdout(lock.share()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start the reaper")?;
        Ok(Self { child })
    }

    /// Lets it go without doing anything: everything is stopped, or meant to stay up.
    pub(crate) fn dismiss(mut self) -> Result<()> {
        let mut pipe = self
            .child
            .stdin
            .take()
            .expect("stdin is piped and taken only here");
        // If it is gone already, so is the danger that it stops anything.
        let _ = pipe.write_all(DISMISSED);
        drop(pipe);
        Process::of_pid(self.child.id()).wait_or_kill(Instant::now() + STOP_DEADLINE)?;
        self.child.wait().context("cannot wait for the reaper")?;
        Ok(())
    }
}

/// The hidden command `reap`.
pub(crate) fn reap(stack: &Stack) -> Result<()> {
    let mut said = Vec::new();
    std::io::stdin()
        .read_to_end(&mut said)
        .context("cannot read the runner's pipe")?;
    if said == DISMISSED {
        Ok(())
    } else {
        lifecycle::stop_all(stack)
    }
}
