//! The lock of a stack, held by the one `up` or `test` that is responsible for it.
//!
//! The reaper holds it as well (see `reaper.rs`), so that after a crash no new stack starts while the old one
//! is being stopped.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::process::ManagedProcess;
use crate::progress;
use crate::stack::DevStack;
use crate::wait;

/// Time to stop a whole stack if each step needs its full deadline.
const RELEASE_DEADLINE: Duration = Duration::from_mins(2);

pub(crate) struct StackLock {
    file: File,
}

impl StackLock {
    /// Takes the lock. Fails if another runner holds it, but waits for the reaper of a runner that died.
    pub(crate) fn acquire(stack: &DevStack) -> Result<Self> {
        stack.create_dirs()?;
        let mut file = open_lock_file(stack)?;
        let deadline = Instant::now() + RELEASE_DEADLINE;
        let mut waits = false;
        while !try_lock(&file)? {
            if let Some(holder) = read_holder(&mut file).filter(|holder| holder.is_alive()) {
                bail!(
                    "the stack `{}` is already up or starting, under pid {} (`{} down` stops it)",
                    stack.name(),
                    holder.pid,
                    stack.command()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "the processes of an earlier run are still not stopped after {RELEASE_DEADLINE:?}"
                );
            }
            if !waits {
                progress::print_status(
                    "lock",
                    "waiting",
                    "the processes of an earlier run are being stopped",
                );
                waits = true;
            }
            wait::sleep_briefly();
        }
        let own = ManagedProcess::of_pid(std::process::id());
        write_holder(&mut file, own).context("cannot write the lock file")?;
        Ok(Self { file })
    }

    /// Returns a handle for a child. The lock is free once all processes with a handle have ended.
    pub(crate) fn share_handle(&self) -> Result<Stdio> {
        Ok(self
            .file
            .try_clone()
            .context("cannot share the lock")?
            .into())
    }
}

/// Makes the runner that is responsible for the stack, if there is one, stop it, and waits for that.
pub(crate) fn stop_holder(stack: &DevStack) -> Result<()> {
    let mut file = open_lock_file(stack)?;
    if try_lock(&file)? {
        return Ok(());
    }
    if let Some(holder) = read_holder(&mut file).filter(|holder| holder.is_alive()) {
        progress::print_status(
            "runner",
            "asked",
            format_args!("pid {} stops the stack", holder.pid),
        );
        holder.signal(Signal::SIGTERM)?;
    }
    let deadline = Instant::now() + RELEASE_DEADLINE;
    while !try_lock(&file)? {
        if Instant::now() >= deadline {
            bail!("the stack's runner still holds it after {RELEASE_DEADLINE:?}");
        }
        wait::sleep_briefly();
    }
    Ok(())
}

fn open_lock_file(stack: &DevStack) -> Result<File> {
    let path = stack.dir().join("lock");
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn try_lock(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the stack"),
    }
}

fn read_holder(file: &mut File) -> Option<ManagedProcess> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    ManagedProcess::parse(&text)
}

fn write_holder(file: &mut File, holder: ManagedProcess) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(holder.to_text().as_bytes())
}
