//! The reaper stops the processes of a stack whose runner has died.
//!
//! The runner starts itself a second time as `reap`, with a pipe as standard input. Only the runner holds the
//! other end, because the standard library does not pass it to other children. If the runner dies, even by
//! SIGKILL, the kernel closes the pipe; the reaper reads the end of its input and stops the processes that
//! the pid files name.
//!
//! Its standard output is a handle of the lock of the stack, so it holds the lock until it has finished.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::lifecycle;
use crate::lock::StackLock;
use crate::process::{ManagedProcess, STOP_DEADLINE};
use crate::stack::DevStack;

/// Message of a runner that no longer needs the reaper.
const DISMISSED: &[u8] = b"dismissed";

pub(crate) struct StackReaper {
    child: Child,
}

impl StackReaper {
    pub(crate) fn spawn(stack: &DevStack, runner: &Path, lock: &StackLock) -> Result<Self> {
        let log =
            File::create(stack.log_file("reaper")).context("cannot write the reaper's log")?;
        let child = Command::new(runner)
            .args(["--stack", stack.name(), "reap"])
            .stdin(Stdio::piped())
            .stdout(lock.share_handle()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start the reaper")?;
        Ok(Self { child })
    }

    /// Ends the reaper without effect, because the stack is stopped or is to stay up.
    pub(crate) fn dismiss(mut self) -> Result<()> {
        let mut pipe = self
            .child
            .stdin
            .take()
            .expect("stdin is piped and taken only here");
        // A reaper that is gone already stops nothing.
        let _ = pipe.write_all(DISMISSED);
        drop(pipe);
        ManagedProcess::of_pid(self.child.id()).wait_or_kill(Instant::now() + STOP_DEADLINE)?;
        self.child.wait().context("cannot wait for the reaper")?;
        Ok(())
    }
}

/// The hidden command `reap`.
pub(crate) fn run_reaper(stack: &DevStack) -> Result<()> {
    let mut message = Vec::new();
    std::io::stdin()
        .read_to_end(&mut message)
        .context("cannot read the runner's pipe")?;
    if message == DISMISSED {
        Ok(())
    } else {
        lifecycle::stop_stack(stack)
    }
}
