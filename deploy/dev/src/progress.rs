//! What the person in front of the terminal sees: one line a step, with what came of it and how long
//! it took.
//!
//! All of it goes to standard error, so that standard output carries results only (`env`, `status`,
//! the demo, the tests). A write that fails (the terminal is gone) is ignored: it must not stop a
//! teardown.

use std::fmt::Display;
use std::io::Write;
use std::time::Instant;

/// Prints one line as it is.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints the line of a step that is at something longer: `  build         running  cargo build`.
pub(crate) fn note(name: &str, state: &str, detail: impl Display) {
    say(format!("  {name:<14} {state:<10} {detail}").trim_end());
}

/// A step under way; its line is printed when it is done.
pub(crate) struct Step {
    name: String,
    started: Instant,
}

impl Step {
    pub(crate) fn start(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            started: Instant::now(),
        }
    }

    pub(crate) fn done(&self, state: &str) {
        let secs = self.started.elapsed().as_secs_f64();
        note(&self.name, state, format_args!("{secs:.1} s"));
    }
}
