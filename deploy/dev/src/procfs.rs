//! Reads information about processes from /proc of Linux. Callers work without it on other systems.

use std::fs;
use std::path::Path;

/// The fields of `/proc/<pid>/stat` that identify a process; see proc(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Time of the start in clock ticks since boot. Together with the pid it identifies a process permanently.
    pub(crate) started: u64,
}

impl ProcessStat {
    /// Whether the process has ended, which includes zombies.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the name of the program in brackets, which may itself contain brackets and
        // spaces. The third field follows the last bracket.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
        })
    }
}

pub(crate) fn is_available() -> bool {
    Path::new("/proc/self/stat").exists()
}

/// Reads the state of a process; returns `None` without such a process or without /proc.
pub(crate) fn read_stat(pid: i32) -> Option<ProcessStat> {
    ProcessStat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Lists the pids of all processes.
pub(crate) fn list_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Reads the command line, with spaces between the arguments.
pub(crate) fn read_command_line(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_brackets_and_spaces() {
        let text =
            "4242 (odd) name (x) S 17 4242 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 11 12";
        assert_eq!(
            ProcessStat::parse(text),
            Some(ProcessStat {
                state: 'S',
                parent: 17,
                group: 4242,
                started: 987_654
            })
        );
    }

    #[test]
    fn a_zombie_has_ended() {
        let text = "7 (gone) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 55 0";
        assert!(ProcessStat::parse(text).expect("complete").has_ended());
    }

    #[test]
    fn a_truncated_line_is_no_process() {
        assert_eq!(ProcessStat::parse("7 (cut) S 1 7"), None);
    }
}
