//! Figures of a run of all measurements, in a file with a JSON object a line, and the table of a run beside the run
//! before.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use talktime_kit::Clock;

use crate::stack::read_variable;

/// The variable with the file of the run, which the runner sets for a run of all measurements.
const FILE_VARIABLE: &str = "BENCH_FIGURES";
/// The extension of the files of earlier runs, which lie beside that of the run under way.
const EXTENSION: &str = "jsonl";
const TABLE_HEAD: &str = "\
| measurement | figure | value | beside | ratio | p50 | p99 | before | change |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// A figure of a measurement.
#[derive(Clone, Debug)]
pub(crate) struct BenchFigure {
    /// The title of the measurement.
    pub(crate) title: String,
    pub(crate) name: String,
    pub(crate) value: f64,
    /// Such as `/s` or `ms`.
    pub(crate) unit: &'static str,
    /// The reference that the figure is compared with, and the ratio to it.
    pub(crate) reference: Option<(String, f64)>,
    /// The median and the 99th percentile of the latencies in milliseconds.
    pub(crate) latency: Option<(f64, f64)>,
}

impl BenchFigure {
    /// A figure that is compared with nothing.
    pub(crate) fn new(title: &str, name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            title: title.to_owned(),
            name: name.to_owned(),
            value,
            unit,
            reference: None,
            latency: None,
        }
    }

    /// Adds the median and the 99th percentile of the latencies in milliseconds.
    pub(crate) fn with_latency(self, p50: f64, p99: f64) -> Self {
        Self {
            latency: Some((p50, p99)),
            ..self
        }
    }

    fn to_line(&self) -> String {
        let (reference, ratio) = self.reference.clone().unzip();
        let (p50, p99) = self.latency.unzip();
        let line = json!({
            "title": self.title, "name": self.name, "value": self.value, "unit": self.unit,
            "reference": reference, "ratio": ratio, "p50_ms": p50, "p99_ms": p99,
        });
        format!("{line}\n")
    }
}

/// Appends figures to the file of the run; a single measurement has none.
pub(crate) fn append(figures: &[BenchFigure]) -> anyhow::Result<()> {
    let Ok(path) = read_variable(FILE_VARIABLE) else {
        return Ok(());
    };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    for figure in figures {
        file.write_all(figure.to_line().as_bytes())?;
    }
    Ok(())
}

/// Writes the table of the run that has ended, and gives its file a name of its own, by which the next run finds it.
pub(crate) fn summarize_run() -> anyhow::Result<()> {
    let path = PathBuf::from(read_variable(FILE_VARIABLE)?);
    let folder = path.parent().context("the file is in a folder")?;
    let figures = read_figures(&path)?;
    ensure!(!figures.is_empty(), "no measurement has ended");
    let before = match find_newest(folder, &path)? {
        Some(earlier) => read_figures(&earlier)?,
        None => Vec::new(),
    };
    let date = Clock::System.now().format("%Y-%m-%dT%H-%M-%S").to_string();
    let table = folder.join(format!("{date}.md"));
    fs::write(&table, format_table(&figures, &before))?;
    fs::rename(&path, folder.join(format!("{date}.{EXTENSION}")))?;
    println!("{}", table.display());
    Ok(())
}

fn read_figures(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let figures = text.lines().map(serde_json::from_str);
    Ok(figures.collect::<Result<_, _>>()?)
}

/// Finds the file of the latest run that has ended. Their names are dates.
fn find_newest(folder: &Path, current: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_run = path
            .extension()
            .is_some_and(|extension| extension == EXTENSION);
        if is_run && path != current {
            newest = newest.max(Some(path));
        }
    }
    Ok(newest)
}

/// Formats a table with each figure, what it was measured beside, and its change since the run before.
fn format_table(figures: &[Value], before: &[Value]) -> String {
    let key = |figure: &Value| (figure["title"].to_string(), figure["name"].to_string());
    let before: HashMap<_, _> = before.iter().map(|figure| (key(figure), figure)).collect();
    let mut table = TABLE_HEAD.to_owned();
    for figure in figures {
        let earlier = before
            .get(&key(figure))
            .and_then(|earlier| earlier["value"].as_f64());
        let change = figure["value"]
            .as_f64()
            .zip(earlier)
            .map(|(now, earlier)| format!("{:+.0} %", 100.0 * (now / earlier - 1.0)));
        let unit = figure["unit"].as_str().unwrap_or_default();
        // A failed write to a string is a lack of memory, which ends the process.
        let _ = writeln!(
            table,
            "| {} | {} | {} {unit} | {} | {} | {} | {} | {} | {} |",
            figure["title"].as_str().unwrap_or_default(),
            figure["name"].as_str().unwrap_or_default(),
            format_number(figure["value"].as_f64()),
            figure["reference"].as_str().unwrap_or_default(),
            format_number(figure["ratio"].as_f64()),
            format_number(figure["p50_ms"].as_f64()),
            format_number(figure["p99_ms"].as_f64()),
            format_number(earlier),
            change.unwrap_or_default()
        );
    }
    table
}

/// Formats a number with about three digits.
fn format_number(number: Option<f64>) -> String {
    match number {
        None => String::new(),
        Some(number) if number.abs() >= 100.0 => format!("{number:.0}"),
        Some(number) if number.abs() >= 10.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(figure: &BenchFigure) -> Value {
        serde_json::from_str(&figure.to_line()).expect("JSON")
    }

    #[test]
    fn a_table_compares_each_figure_with_its_reference_and_with_the_run_before() {
        let charges = BenchFigure {
            reference: Some(("pgbench".to_owned(), 7.25)),
            ..BenchFigure::new("Charges", "batches", 15_806.0, "/s").with_latency(4.0, 12.34)
        };
        let new = BenchFigure::new("Sockets", "memory", 13.3, "KiB");
        let earlier = BenchFigure::new("Charges", "batches", 12_645.0, "/s");
        let figures = [parse(&charges), parse(&new)];
        let table = format_table(&figures, &[parse(&earlier)]);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| Charges | batches | 15806 /s | pgbench | 7.25 | 4.00 | 12.3 | 12645 | +25 % |",
                "| Sockets | memory | 13.3 KiB |  |  |  |  |  |  |",
            ]
        );
    }

    #[test]
    fn the_run_before_is_the_one_with_the_latest_date() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "2026-01-02.jsonl",
            "2026-03-01.jsonl",
            "2026-04-01.md",
            "run.jsonl",
        ] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        let current = folder.path().join("run.jsonl");
        let newest = find_newest(folder.path(), &current).expect("readable");
        assert_eq!(newest, Some(folder.path().join("2026-03-01.jsonl")));
    }
}
