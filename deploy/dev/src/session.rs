//! The time during which a runner is responsible for a stack: from taking the lock to giving the
//! stack up, stopped or left to itself.

use anyhow::{Result, bail};

use crate::lock::Lock;
use crate::progress;
use crate::reaper::Reaper;
use crate::settings::Settings;
use crate::stack::{self, Stack};
use crate::{cargo, cluster, lifecycle};

pub(crate) struct Session<'a> {
    stack: &'a Stack,
    reaper: Reaper,
    /// After the reaper, so that it is released last.
    _lock: Lock,
}

impl<'a> Session<'a> {
    /// Takes charge of a stack. One that was left up on purpose is refused; what a crashed run left
    /// is stopped.
    pub(crate) fn begin(stack: &'a Stack) -> Result<Self> {
        let lock = Lock::acquire(stack)?;
        if Settings::load(stack).detached && !lifecycle::alive(stack).is_empty() {
            bail!(
                "the stack `{}` is already up (`{} down` stops it)",
                stack.name(),
                stack.command()
            );
        }
        Self::take_over(stack, lock)
    }

    /// Takes charge of a stack of which nothing is worth keeping, neither processes nor data.
    pub(crate) fn begin_anew(stack: &'a Stack) -> Result<Self> {
        let lock = Lock::acquire(stack)?;
        stop_leftovers(stack)?;
        wipe(stack)?;
        Self::take_over(stack, lock)
    }

    fn take_over(stack: &'a Stack, lock: Lock) -> Result<Self> {
        stop_leftovers(stack)?;
        stack.clear_logs()?;
        let runner = cargo::install_runner(stack)?;
        let reaper = Reaper::spawn(stack, &runner, &lock)?;
        Ok(Self {
            stack,
            reaper,
            _lock: lock,
        })
    }

    /// Stops everything.
    pub(crate) fn end(self) -> Result<()> {
        lifecycle::stop_all(self.stack)?;
        self.reaper.dismiss()
    }

    /// Leaves the stack up without a runner.
    pub(crate) fn leave(self, settings: &Settings) -> Result<()> {
        Settings {
            detached: true,
            ..settings.clone()
        }
        .save(self.stack)?;
        self.reaper.dismiss()
    }
}

fn stop_leftovers(stack: &Stack) -> Result<()> {
    if !lifecycle::alive(stack).is_empty() {
        progress::note(
            "leftovers",
            "found",
            "an earlier run did not stop everything",
        );
    }
    lifecycle::stop_all(stack)
}

/// Deletes what the stack keeps. Nothing of it may be running.
pub(crate) fn wipe(stack: &Stack) -> Result<()> {
    cluster::wipe(stack)?;
    stack::remove_dir(&stack.data_dir())?;
    stack::remove_dir(&stack.secrets_dir())?;
    stack.make_dirs()
}
