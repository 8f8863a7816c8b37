//! What Linux tells about processes in /proc. Elsewhere there is no /proc, and callers make do.

use std::fs;
use std::path::Path;

/// The fields of `/proc/<pid>/stat` that tell who a process is; see proc(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// When it started, in clock ticks since boot. Together with the pid it names a process for good:
    /// a pid is used again, but not with the same start.
    pub(crate) started: u64,
}

impl Stat {
    /// A zombie has ended; only its parent has not asked how.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets and may hold anything, brackets and
        // spaces included: the fields to rely on begin after the last bracket, with the third.
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

/// `None` if there is no such process (any more), or no /proc.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The pids of all processes.
pub(crate) fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The command line, with spaces between the arguments.
pub(crate) fn command_line(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_confuse_the_fields() {
        let text =
            "4242 (odd) name (x) S 17 4242 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 11 12";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
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
        assert!(Stat::parse(text).expect("complete").has_ended());
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert_eq!(Stat::parse("7 (cut) S 1 7"), None);
    }
}
