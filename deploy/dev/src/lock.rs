//! The lock of a stack: held by the one `up` or `test` that is responsible for it.
//!
//! The reaper holds it too (see `reaper.rs`), so that after a crash nobody starts a new stack while
//! the old one is being cleared away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::process::Process;
use crate::progress;
use crate::stack::Stack;
use crate::wait;

/// How long stopping a whole stack may take when every step of it needs its full deadline.
const RELEASE_DEADLINE: Duration = Duration::from_mins(2);

pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock. Fails if another runner has it, but waits for the reaper of one that died.
    pub(crate) fn acquire(stack: &Stack) -> Result<Self> {
        stack.make_dirs()?;
        let mut file = open(stack)?;
        let deadline = Instant::now() + RELEASE_DEADLINE;
        let mut waits = false;
        while !try_lock(&file)? {
            if let Some(holder) = read_holder(&mut file).filter(|holder| holder.is_alive()) {
                bail!(
                    "the stack `{}` is already up, or on its way, under pid {} (`{} down` stops it)",
                    stack.name(),
                    holder.pid,
                    stack.command()
                );
            }
            if Instant::now() >= deadline {
                bail!("an earlier run is still not cleared away after {RELEASE_DEADLINE:?}");
            }
            if !waits {
                progress::note("lock", "waiting", "an earlier run is being cleared away");
                waits = true;
            }
            wait::pause();
        }
        let own = Process::of_pid(std::process::id());
        write_holder(&mut file, own).context("cannot write the lock file")?;
        Ok(Self { file })
    }

    /// The lock as something a child can hold. It is free when all who hold it are gone.
    pub(crate) fn share(&self) -> Result<Stdio> {
        Ok(self
            .file
            .try_clone()
            .context("cannot share the lock")?
            .into())
    }
}

/// Asks the runner that is responsible for the stack, if there is one, to stop it, and waits until
/// it has.
pub(crate) fn ask_holder_to_stop(stack: &Stack) -> Result<()> {
    let mut file = open(stack)?;
    if try_lock(&file)? {
        return Ok(());
    }
    if let Some(holder) = read_holder(&mut file).filter(|holder| holder.is_alive()) {
        progress::note(
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
        wait::pause();
    }
    Ok(())
}

fn open(stack: &Stack) -> Result<File> {
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

fn read_holder(file: &mut File) -> Option<Process> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Process::parse(&text)
}

fn write_holder(file: &mut File, holder: Process) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(holder.to_text().as_bytes())
}
