//! Reads the log files of a stack.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Number of log lines in an error message.
const TAIL_LINES: usize = 20;

/// Returns the length in bytes, so that only later lines are read afterwards.
pub(crate) fn read_length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Formats the last lines after the first `from` bytes, indented, for an error message.
pub(crate) fn format_tail(path: &Path, from: u64) -> String {
    let text = read_from(path, from).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return format!("  ({} is empty)", path.display());
    }
    let first = lines.len().saturating_sub(TAIL_LINES);
    let shown: Vec<String> = lines[first..]
        .iter()
        .map(|line| format!("  | {line}"))
        .collect();
    format!("{}\n  the whole log: {}", shown.join("\n"), path.display())
}

fn read_from(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
