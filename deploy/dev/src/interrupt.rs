//! Interrupts (Ctrl-C, SIGTERM, a closed terminal) as a flag that every longer wait checks.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Makes interrupts set the flag instead of ending the runner at once.
pub(crate) fn install_handler() -> Result<()> {
    ctrlc::set_handler(|| REQUESTED.store(true, Ordering::SeqCst)).context("cannot handle Ctrl-C")
}

pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Returns an error after an interrupt, for the `?` of a wait.
pub(crate) fn fail_if_requested() -> Result<()> {
    if is_requested() {
        bail!("interrupted");
    }
    Ok(())
}
