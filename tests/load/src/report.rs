//! The table at the end.

use std::fmt;

use hdrhistogram::Histogram;

use crate::driver::Measured;
use crate::rounds::median;

/// Figures of one contender over all rounds.
pub(crate) struct Line {
    what: String,
    per_second: Vec<f64>,
    latency: Histogram<u64>,
}

/// Lines to be compared with the first one.
pub(crate) struct Report {
    title: String,
    lines: Vec<Line>,
}

impl Line {
    pub(crate) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            per_second: Vec::new(),
            latency: Histogram::new(3).expect("three digits are allowed"),
        }
    }

    /// A round without known latencies.
    pub(crate) fn rate(&mut self, per_second: f64) {
        self.per_second.push(per_second);
        println!("  {:<52} {per_second:>10.0} /s", self.what);
    }

    /// A round.
    pub(crate) fn add(&mut self, measured: &Measured) {
        self.rate(measured.per_second);
        self.latency += &measured.latency;
    }

    /// Of all rounds together.
    pub(crate) fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.per_second)
    }
}

impl Report {
    /// The first line is the opponent.
    pub(crate) fn new(title: &str, lines: Vec<Line>) -> Self {
        Self {
            title: title.to_owned(),
            lines,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        writeln!(
            f,
            "  {:<52} {:>10} {:>7} {:>9} {:>9}",
            "(medians)", "/s", "ratio", "p50", "p99"
        )?;
        let opponent = self.lines.first().map_or(0.0, Line::median);
        for line in &self.lines {
            let rate = line.median();
            write!(
                f,
                "  {:<52} {rate:>10.0} {:>7.2}",
                line.what,
                rate / opponent
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

/// In milliseconds.
pub(crate) fn quantile(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1_000.0
}
