//! The table at the end of a measurement.

use std::fmt;

use hdrhistogram::Histogram;

use crate::driver::MeasuredLoad;
use crate::figures::{self, BenchFigure};
use crate::rounds::median;

/// Figures of one candidate over all rounds.
pub(crate) struct ReportLine {
    name: String,
    per_second: Vec<f64>,
    latency: Histogram<u64>,
}

/// Lines that are compared with the first one.
pub(crate) struct RateReport {
    title: String,
    lines: Vec<ReportLine>,
}

impl ReportLine {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            per_second: Vec::new(),
            latency: Histogram::new(3).expect("three digits are allowed"),
        }
    }

    /// Adds a round without latencies.
    pub(crate) fn add_rate(&mut self, per_second: f64) {
        self.per_second.push(per_second);
        println!("  {:<52} {per_second:>10.0} /s", self.name);
    }

    /// Adds a round.
    pub(crate) fn add_round(&mut self, measured: &MeasuredLoad) {
        self.add_rate(measured.per_second);
        self.latency += &measured.latency;
    }

    /// Returns the latencies of all rounds.
    pub(crate) fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.per_second)
    }
}

impl RateReport {
    /// The first line is the reference.
    pub(crate) fn new(title: &str, lines: Vec<ReportLine>) -> Self {
        Self {
            title: title.to_owned(),
            lines,
        }
    }

    /// Prints the table and adds its lines to the figures of the run.
    pub(crate) fn publish(&self) -> anyhow::Result<()> {
        println!("{self}");
        let figures: Vec<BenchFigure> = self.lines.iter().map(|line| self.figure(line)).collect();
        figures::append(&figures)
    }

    fn figure(&self, line: &ReportLine) -> BenchFigure {
        let first = self.lines.first();
        let reference = first.filter(|first| first.name != line.name);
        let rate = line.median();
        let latency = &line.latency;
        BenchFigure {
            reference: reference.map(|first| (first.name.clone(), rate / first.median())),
            latency: (!latency.is_empty())
                .then(|| (quantile(latency, 0.5), quantile(latency, 0.99))),
            ..BenchFigure::new(&self.title, &line.name, rate, "/s")
        }
    }
}

impl fmt::Display for RateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        writeln!(
            f,
            "  {:<52} {:>10} {:>7} {:>9} {:>9}",
            "(medians)", "/s", "ratio", "p50", "p99"
        )?;
        let reference = self.lines.first().map_or(0.0, ReportLine::median);
        for line in &self.lines {
            let rate = line.median();
            write!(
                f,
                "  {:<52} {rate:>10.0} {:>7.2}",
                line.name,
                rate / reference
            )?;
            if !line.latency.is_empty() {
                let (p50, p99) = (quantile(&line.latency, 0.5), quantile(&line.latency, 0.99));
                write!(f, " {p50:>6.1} ms {p99:>6.1} ms")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Returns a quantile in milliseconds.
pub(crate) fn quantile(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1_000.0
}
