//! Processes that outlive the command which started them: their pid files, whether they still live,
//! and how they are ended.

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
use crate::stack::Stack;
use crate::wait;

/// How long a process may take to end in good order before it is killed.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// How long the kernel may take to clear away a killed process (it may be busy writing).
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// See `procfs::Stat::started`; `None` where there is no /proc.
    started: Option<u64>,
}

/// How a process that was asked to end did so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Orderly,
    /// It had to be killed.
    Killed,
}

impl Process {
    pub(crate) fn of_pid(pid: u32) -> Self {
        let pid = i32::try_from(pid).expect("pids are positive 32-bit numbers");
        Self {
            pid,
            started: procfs::stat(pid).map(|stat| stat.started),
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
            procfs::stat(self.pid)
                .is_some_and(|stat| Some(stat.started) == self.started && !stat.has_ended())
        } else {
            signal::kill(Pid::from_raw(self.pid), None) != Err(Errno::ESRCH)
        }
    }

    /// Whoever lives of this process, its process group and its children.
    ///
    /// The group outlives its leader: tests started by a cargo that was killed, for example. And
    /// Postgres puts each backend into a session of its own, so its children are looked for as well.
    fn family(self) -> Vec<Self> {
        let (true, Some(started)) = (procfs::is_available(), self.started) else {
            return if self.is_alive() {
                vec![self]
            } else {
                Vec::new()
            };
        };
        // The kernel gives no pid away while a group bears its number: a stranger under our pid
        // means that nothing of the group is left.
        if procfs::stat(self.pid).is_some_and(|stat| stat.started != started) {
            return Vec::new();
        }
        procfs::pids()
            .filter_map(|pid| Some((pid, procfs::stat(pid)?)))
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

    /// Asks the process to end. That it has ended already is no error.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        ignore_gone(signal::kill(Pid::from_raw(self.pid), signal))
            .with_context(|| format!("cannot send {signal} to pid {}", self.pid))
    }

    /// As `signal`, to every process of its group.
    pub(crate) fn signal_group(self, signal: Signal) -> Result<()> {
        if self.family().is_empty() {
            return Ok(());
        }
        ignore_gone(signal::killpg(Pid::from_raw(self.pid), signal))
            .with_context(|| format!("cannot send {signal} to process group {}", self.pid))
    }

    /// Waits until the process, its group and its children have ended, and kills them if they do not.
    pub(crate) fn wait_or_kill(self, deadline: Instant) -> Result<Ending> {
        if wait::until(deadline, || self.family().is_empty()) {
            return Ok(Ending::Orderly);
        }
        self.kill()?;
        Ok(Ending::Killed)
    }

    /// Kills the process, its group and its children, and waits until they are gone.
    pub(crate) fn kill(self) -> Result<()> {
        // The family must be known before: with its head gone nothing shows who belonged to it.
        let family = self.family();
        self.signal_group(Signal::SIGKILL)?;
        for member in &family {
            member.signal(Signal::SIGKILL)?;
        }
        let gone = || family.iter().all(|member| !member.is_alive()) && self.family().is_empty();
        if !wait::until(Instant::now() + KILL_DEADLINE, gone) {
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

/// The process of a pid file, if it is still that one and lives.
pub(crate) fn running(stack: &Stack, name: &str) -> Option<Process> {
    recorded(&stack.pid_file(name)).filter(|process| process.is_alive())
}

/// The process of a pid file, alive or not.
pub(crate) fn recorded(pid_file: &Path) -> Option<Process> {
    Process::parse(&fs::read_to_string(pid_file).ok()?)
}

/// Starts a process in a process group of its own (so that Ctrl-C in the terminal reaches only the
/// runner), writing to its log file, and records it.
pub(crate) fn spawn(stack: &Stack, name: &str, command: &mut Command) -> Result<Child> {
    let path = stack.log(name);
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

/// As `spawn`, with standard input and output as they are set on the command.
pub(crate) fn spawn_recorded(pid_file: &Path, command: &mut Command) -> Result<Child> {
    let mut child = command
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if let Err(error) = record(pid_file, Process::of_pid(child.id())) {
        // Better no process than one that nobody would find and stop.
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

fn record(pid_file: &Path, process: Process) -> Result<()> {
    // Written aside and renamed, so that another runner never reads half of it.
    let unfinished = pid_file.with_extension("new");
    fs::write(&unfinished, process.to_text())
        .and_then(|()| fs::rename(&unfinished, pid_file))
        .with_context(|| format!("cannot write {}", pid_file.display()))
}

/// Collects the child's exit status when it ends, so that it does not stay as a zombie.
pub(crate) fn reap_in_background(mut child: Child) {
    thread::spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Runs a script in a group of its own, and waits for its first line of output.
    fn script(text: &str) -> (Child, Process) {
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
            .expect("the script says something");
        let process = Process::of_pid(child.id());
        (child, process)
    }

    #[test]
    fn a_pid_file_names_the_process() {
        let process = Process {
            pid: 4711,
            started: Some(99),
        };
        assert_eq!(Process::parse(&process.to_text()), Some(process));
        assert_eq!(
            Process::parse("4711\n"),
            Some(Process {
                pid: 4711,
                started: None
            })
        );
        assert_eq!(Process::parse(""), None);
        assert_eq!(Process::parse("1 5"), None, "init is never ours");
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_ours() {
        let own = Process::of_pid(std::process::id());
        assert!(own.is_alive());
        if let Some(started) = own.started {
            let stranger = Process {
                pid: own.pid,
                started: Some(started + 1),
            };
            assert!(!stranger.is_alive());
            assert!(stranger.family().is_empty());
        }
    }

    #[test]
    fn killing_takes_the_whole_group_and_a_zombie_counts_as_gone() {
        let (child, process) = script("sleep 60 & echo started; sleep 60");
        process.kill().expect("our own child can be killed");
        assert!(
            !process.is_alive(),
            "nobody has waited for it, but it has ended"
        );
        assert!(process.family().is_empty());
        reap_in_background(child);
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed_at_the_deadline() {
        let (child, process) = script("trap '' TERM; echo deaf; while :; do sleep 1; done");
        process
            .signal(Signal::SIGTERM)
            .expect("our own child can be signalled");
        let ending = process
            .wait_or_kill(Instant::now() + wait::POLL)
            .expect("our own child can be killed");
        assert_eq!(ending, Ending::Killed);
        assert!(!process.is_alive());
        reap_in_background(child);
    }
}
