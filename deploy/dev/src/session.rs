//! The time in which a runner is responsible for a stack: from taking the lock until the stack is stopped or
//! left up on purpose.

use anyhow::{Result, bail};

use crate::lock::StackLock;
use crate::progress;
use crate::reaper::StackReaper;
use crate::settings::StackSettings;
use crate::stack::{self, DevStack};
use crate::{cargo, cluster, lifecycle};

pub(crate) struct StackSession<'a> {
    stack: &'a DevStack,
    reaper: StackReaper,
    /// Declared after the reaper, so that it is released last.
    _lock: StackLock,
}

impl<'a> StackSession<'a> {
    /// Becomes responsible for a stack. A stack that was left up on purpose is an error; processes of a
    /// crashed run are stopped.
    pub(crate) fn begin(stack: &'a DevStack) -> Result<Self> {
        let lock = StackLock::acquire(stack)?;
        if StackSettings::load(stack).detached && !lifecycle::list_alive(stack).is_empty() {
            bail!(
                "the stack `{}` is already up (`{} down` stops it)",
                stack.name(),
                stack.command()
            );
        }
        Self::take_over(stack, lock)
    }

    /// Becomes responsible for a stack after stopping its processes and deleting its data.
    pub(crate) fn begin_fresh(stack: &'a DevStack) -> Result<Self> {
        let lock = StackLock::acquire(stack)?;
        stop_leftovers(stack)?;
        wipe_stack(stack)?;
        Self::take_over(stack, lock)
    }

    fn take_over(stack: &'a DevStack, lock: StackLock) -> Result<Self> {
        stop_leftovers(stack)?;
        stack.clear_logs()?;
        let runner = cargo::copy_runner(stack)?;
        let reaper = StackReaper::spawn(stack, &runner, &lock)?;
        Ok(Self {
            stack,
            reaper,
            _lock: lock,
        })
    }

    /// Stops the stack.
    pub(crate) fn end(self) -> Result<()> {
        lifecycle::stop_stack(self.stack)?;
        self.reaper.dismiss()
    }

    /// Leaves the stack up without a runner.
    pub(crate) fn detach(self, settings: &StackSettings) -> Result<()> {
        StackSettings {
            detached: true,
            ..settings.clone()
        }
        .save(self.stack)?;
        self.reaper.dismiss()
    }
}

fn stop_leftovers(stack: &DevStack) -> Result<()> {
    if !lifecycle::list_alive(stack).is_empty() {
        progress::print_status("leftovers", "found", "processes of an earlier run");
    }
    lifecycle::stop_stack(stack)
}

/// Deletes the data and secrets of the stack, which must be stopped.
pub(crate) fn wipe_stack(stack: &DevStack) -> Result<()> {
    cluster::wipe_cluster(stack)?;
    stack::remove_dir(&stack.data_dir())?;
    stack::remove_dir(&stack.secrets_dir())?;
    stack.create_dirs()
}
