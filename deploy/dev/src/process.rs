//! Processes that outlive the command that started them: their pid files, whether they are alive, and how
//! they are stopped.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::procfs;
use crate::stack::DevStack;
use crate::wait;

/// Time in which a process must stop before it is killed.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// Time in which the kernel must remove a killed process, which may still be writing.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A process that is never confused with a later one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManagedProcess {
    pub(crate) pid: i32,
    /// See `procfs::ProcessStat::started`; `None` without /proc.
    started: Option<u64>,
}

/// The way in which a process stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopOutcome {
    Orderly,
    /// The process did not stop in time and was killed.
    Killed,
}

impl ManagedProcess {
    pub(crate) fn of_pid(pid: u32) -> Self {
        let pid = i32::try_from(pid).expect("pids are positive 32-bit numbers");
        Self {
            pid,
            started: procfs::read_stat(pid).map(|stat| stat.started),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let started = words.next().map(str::parse).transpose().ok()?;
        (pid > 1).then_some(Self { pid, started })
    }

    pub(crate) fn to_text(self) -> String {
        let started = self
            .started
            .map_or_else(String::new, |ticks| format!(" {ticks}"));
        format!("{}{started}\n", self.pid)
    }

    pub(crate) fn is_alive(self) -> bool {
        if procfs::is_available() {
            procfs::read_stat(self.pid)
                .is_some_and(|stat| Some(stat.started) == self.started && !stat.has_ended())
        } else {
            signal::kill(Pid::from_raw(self.pid), None) != Err(Errno::ESRCH)
        }
    }

    /// Finds the live processes among this process, its process group and its children.
    ///
    /// A group may outlive its leader, such as tests that were started by a killed cargo. Postgres puts each
    /// backend into a session of its own, so children are included as well.
    fn find_family(self) -> Vec<Self> {
        let (true, Some(started)) = (procfs::is_available(), self.started) else {
            return if self.is_alive() {
                vec![self]
            } else {
                Vec::new()
            };
        };
        // The kernel does not reuse a pid while a group has this number. Another process with this pid
        // therefore means that the group is gone.
        if procfs::read_stat(self.pid).is_some_and(|stat| stat.started != started) {
            return Vec::new();
        }
        procfs::list_pids()
            .filter_map(|pid| Some((pid, procfs::read_stat(pid)?)))
            .filter(|(pid, stat)| {
                let related = [*pid, stat.group, stat.parent].contains(&self.pid);
                related && stat.started >= started && !stat.has_ended()
            })
            .map(|(pid, stat)| Self {
                pid,
                started: Some(stat.started),
            })
            .collect()
    }

    /// Sends a signal. A process that has ended already is no error.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        ignore_gone(signal::kill(Pid::from_raw(self.pid), signal))
            .with_context(|| format!("cannot send {signal} to pid {}", self.pid))
    }

    /// Sends a signal to every process of the group.
    pub(crate) fn signal_group(self, signal: Signal) -> Result<()> {
        if self.find_family().is_empty() {
            return Ok(());
        }
        ignore_gone(signal::killpg(Pid::from_raw(self.pid), signal))
            .with_context(|| format!("cannot send {signal} to process group {}", self.pid))
    }

    /// Waits until the process, its group and its children have ended, and kills them at the deadline.
    pub(crate) fn wait_or_kill(self, deadline: Instant) -> Result<StopOutcome> {
        if wait::poll_until(deadline, || self.find_family().is_empty()) {
            return Ok(StopOutcome::Orderly);
        }
        self.kill()?;
        Ok(StopOutcome::Killed)
    }

    /// Kills the process, its group and its children, and waits until they are gone.
    pub(crate) fn kill(self) -> Result<()> {
        // The family is found first, because afterwards nothing shows which processes belonged to it.
        let family = self.find_family();
        self.signal_group(Signal::SIGKILL)?;
        for member in &family {
            member.signal(Signal::SIGKILL)?;
        }
        let gone =
            || family.iter().all(|member| !member.is_alive()) && self.find_family().is_empty();
        if !wait::poll_until(Instant::now() + KILL_DEADLINE, gone) {
            bail!(
                "pid {} is still there {KILL_DEADLINE:?} after SIGKILL",
                self.pid
            );
        }
        Ok(())
    }
}

fn ignore_gone(outcome: nix::Result<()>) -> nix::Result<()> {
    if outcome == Err(Errno::ESRCH) {
        Ok(())
    } else {
        outcome
    }
}

/// Finds the process of a pid file, if it is alive.
pub(crate) fn find_running(stack: &DevStack, name: &str) -> Option<ManagedProcess> {
    read_pid_file(&stack.pid_file(name)).filter(|process| process.is_alive())
}

/// Reads the process of a pid file, whether or not it is alive.
pub(crate) fn read_pid_file(pid_file: &Path) -> Option<ManagedProcess> {
    ManagedProcess::parse(&fs::read_to_string(pid_file).ok()?)
}

/// Starts a process that writes to its log file, in a process group of its own, so that Ctrl-C in the
/// terminal reaches only the runner, and records it in a pid file.
pub(crate) fn spawn_logged(stack: &DevStack, name: &str, command: &mut Command) -> Result<Child> {
    let path = stack.log_file(name);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    spawn_recorded(&stack.pid_file(name), command)
}

/// As [`spawn_logged`], with the standard input and output of the command.
pub(crate) fn spawn_recorded(pid_file: &Path, command: &mut Command) -> Result<Child> {
    let mut child = command
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if let Err(error) = write_pid_file(pid_file, ManagedProcess::of_pid(child.id())) {
        // Without a pid file nothing would find and stop the process.
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

fn write_pid_file(pid_file: &Path, process: ManagedProcess) -> Result<()> {
    // The file is renamed into place, so that another runner never reads a partial one.
    let unfinished = pid_file.with_extension("new");
    fs::write(&unfinished, process.to_text())
        .and_then(|()| fs::rename(&unfinished, pid_file))
        .with_context(|| format!("cannot write {}", pid_file.display()))
}

/// Waits for the child in a thread, so that it does not become a zombie.
pub(crate) fn reap_in_background(mut child: Child) {
    thread::spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Runs a script in a group of its own, and waits for its first line of output.
    fn run_script(text: &str) -> (Child, ManagedProcess) {
        let mut child = Command::new("sh")
            .args(["-c", text])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .expect("every system has sh");
        let mut first_byte = [0];
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        stdout
            .read_exact(&mut first_byte)
            .expect("the script prints something");
        let process = ManagedProcess::of_pid(child.id());
        (child, process)
    }

    #[test]
    fn a_pid_file_is_read_back() {
        let process = ManagedProcess {
            pid: 4711,
            started: Some(99),
        };
        assert_eq!(ManagedProcess::parse(&process.to_text()), Some(process));
        assert_eq!(
            ManagedProcess::parse("4711\n"),
            Some(ManagedProcess {
                pid: 4711,
                started: None
            })
        );
        assert_eq!(ManagedProcess::parse(""), None);
        assert_eq!(
            ManagedProcess::parse("1 5"),
            None,
            "init is never a process of a stack"
        );
    }

    #[test]
    fn a_later_process_with_the_same_pid_is_another_one() {
        let own = ManagedProcess::of_pid(std::process::id());
        assert!(own.is_alive());
        if let Some(started) = own.started {
            let stranger = ManagedProcess {
                pid: own.pid,
                started: Some(started + 1),
            };
            assert!(!stranger.is_alive());
            assert!(stranger.find_family().is_empty());
        }
    }

    #[test]
    fn a_killed_group_is_gone_even_if_its_leader_is_a_zombie() {
        let (child, process) = run_script("sleep 60 & echo started; sleep 60");
        process.kill().expect("our own child can be killed");
        assert!(
            !process.is_alive(),
            "nobody has waited for it, but it has ended"
        );
        assert!(process.find_family().is_empty());
        reap_in_background(child);
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed_at_the_deadline() {
        let (child, process) = run_script("trap '' TERM; echo deaf; while :; do sleep 1; done");
        process
            .signal(Signal::SIGTERM)
            .expect("our own child can be signalled");
        let ending = process
            .wait_or_kill(Instant::now() + wait::POLL)
            .expect("our own child can be killed");
        assert_eq!(ending, StopOutcome::Killed);
        assert!(!process.is_alive());
        reap_in_background(child);
    }
}
