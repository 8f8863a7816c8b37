//! Commands that the runner waits for: cargo, migrations, the demo, the tests.
//!
//! A job runs in a process group of its own with a pid file, like every process of the runner, so that an
//! interrupt, a deadline, or the reaper after a crash stops it together with its children.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::process::{self, ManagedProcess};
use crate::stack::DevStack;
use crate::wait::POLL;
use crate::{interrupt, wait};

/// Time in which an interrupted job must end before it is killed.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);
/// Time to read remaining output after a job has ended, since a remaining child may hold the pipe.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// Lines that are read ahead of their consumer.
const LINES_AHEAD: usize = 1024;
/// Pid files of jobs are `job-<name>-<pid of the runner>.pid`: several runners may have jobs.
const PID_FILE_PREFIX: &str = "job-";

pub(crate) struct RunnerJob<'a> {
    pub(crate) stack: &'a DevStack,
    /// Name in the pid file and in messages.
    pub(crate) name: &'a str,
    pub(crate) deadline: Duration,
}

impl RunnerJob<'_> {
    /// Runs the command with the output that is set on it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        let (child, pid_file) = self.spawn(command)?;
        // A channel without a sender is the output of a command that prints nothing.
        let (_, silence) = mpsc::sync_channel(LINES_AHEAD);
        self.supervise(child, &pid_file, &silence, |_| ())
    }

    /// Runs the command and passes each line of its standard output to `on_line`.
    pub(crate) fn run_with_lines(
        &self,
        command: &mut Command,
        on_line: impl FnMut(&str),
    ) -> Result<ExitStatus> {
        let (mut child, pid_file) = self.spawn(command.stdout(Stdio::piped()))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::sync_channel(LINES_AHEAD);
        thread::spawn(move || send_lines(stdout, &sender));
        self.supervise(child, &pid_file, &lines, on_line)
    }

    fn spawn(&self, command: &mut Command) -> Result<(Child, PathBuf)> {
        let name = format!("{PID_FILE_PREFIX}{}-{}", self.name, std::process::id());
        let pid_file = self.stack.pid_file(&name);
        let child = process::spawn_recorded(&pid_file, command.stdin(Stdio::null()))?;
        Ok((child, pid_file))
    }

    fn supervise(
        &self,
        mut child: Child,
        pid_file: &Path,
        lines: &Receiver<String>,
        mut on_line: impl FnMut(&str),
    ) -> Result<ExitStatus> {
        let process = ManagedProcess::of_pid(child.id());
        let outcome = self.wait_for_exit(&mut child, lines, &mut on_line);
        let ended = match outcome {
            // Processes that the job has left running in its group end with it.
            Ok(_) => process.kill(),
            Err(_) => stop_job(process),
        };
        let _ = child.wait();
        let drained_by = Instant::now() + DRAIN_DEADLINE;
        while let Ok(line) =
            lines.recv_timeout(drained_by.saturating_duration_since(Instant::now()))
        {
            on_line(&line);
        }
        let _ = fs::remove_file(pid_file);
        ended?;
        outcome
    }

    fn wait_for_exit(
        &self,
        child: &mut Child,
        lines: &Receiver<String>,
        on_line: &mut impl FnMut(&str),
    ) -> Result<ExitStatus> {
        let deadline = Instant::now() + self.deadline;
        loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => on_line(&line),
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => wait::sleep_briefly(),
            }
            if let Some(status) = child.try_wait().context("cannot wait for a child")? {
                return Ok(status);
            }
            interrupt::fail_if_requested()?;
            if Instant::now() >= deadline {
                bail!("{} took longer than {:?}", self.name, self.deadline);
            }
        }
    }
}

/// Sends each line without its line break; invalid UTF-8 is replaced.
fn send_lines(stdout: impl Read, sender: &mpsc::SyncSender<String>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        let text = String::from_utf8_lossy(&line);
        if sender
            .send(text.trim_end_matches(['\n', '\r']).to_owned())
            .is_err()
        {
            return;
        }
        line.clear();
    }
}

fn stop_job(process: ManagedProcess) -> Result<()> {
    process.signal_group(Signal::SIGTERM)?;
    process.wait_or_kill(Instant::now() + INTERRUPT_GRACE)?;
    Ok(())
}

/// Stops every job of the stack, whichever runner started it.
pub(crate) fn stop_all_jobs(stack: &DevStack) -> Result<()> {
    let files = fs::read_dir(stack.run_dir())
        .into_iter()
        .flatten()
        .flatten();
    for file in files {
        let name = file.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(PID_FILE_PREFIX) && name.ends_with(".pid")) {
            continue;
        }
        if let Some(process) = process::read_pid_file(&file.path()) {
            stop_job(process)?;
        }
        let _ = fs::remove_file(file.path());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_no_line_breaks_and_the_last_one_needs_none() {
        let (sender, lines) = mpsc::sync_channel(LINES_AHEAD);
        send_lines(&b"one\r\ntwo\n\xffthree"[..], &sender);
        drop(sender);
        assert_eq!(
            lines.iter().collect::<Vec<_>>(),
            ["one", "two", "\u{fffd}three"]
        );
    }
}
