//! Prints the progress of the runner: one line a step, with its result and duration.
//!
//! Progress goes to standard error; standard output carries results only (`env`, `status`, the demo, the
//! tests). A failed write, as after the terminal was closed, is ignored, because it must not interrupt
//! stopping a stack.

use std::fmt::Display;
use std::io::Write;
use std::time::Instant;

/// Prints a line.
pub(crate) fn print_line(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a step with its state: `  build         running  cargo build`.
pub(crate) fn print_status(name: &str, state: &str, detail: impl Display) {
    print_line(format!("  {name:<14} {state:<10} {detail}").trim_end());
}

/// A step that is under way; its line is printed when it is finished.
pub(crate) struct ProgressStep {
    name: String,
    started: Instant,
}

impl ProgressStep {
    pub(crate) fn start(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            started: Instant::now(),
        }
    }

    pub(crate) fn finish(&self, state: &str) {
        let secs = self.started.elapsed().as_secs_f64();
        print_status(&self.name, state, format_args!("{secs:.1} s"));
    }
}
