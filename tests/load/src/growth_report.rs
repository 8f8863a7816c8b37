//! The table of the measurement of growth: durations and blocks by size, and how they differ between the first and the last
//! one.

use std::fmt;

use crate::growth_load::MeasuredRequests;
use crate::report::quantile;

/// The largest factor between the first and the last size that is acceptable.
const FACTOR_MAX: f64 = 1.3;

/// Measurements of several kinds of requests, at several sizes.
pub(crate) struct GrowthReport {
    labels: &'static [&'static str],
    sizes: Vec<MeasuredSize>,
}

/// Measurements at one size, in the order of the labels.
struct MeasuredSize {
    minutes: i64,
    requests: Vec<MeasuredRequests>,
}

/// The figures of a measurement that are compared.
struct GrowthFigures {
    p50: f64,
    p99: f64,
    blocks: f64,
}

impl From<&MeasuredRequests> for GrowthFigures {
    fn from(measured: &MeasuredRequests) -> Self {
        Self {
            p50: quantile(&measured.latency, 0.5),
            p99: quantile(&measured.latency, 0.99),
            blocks: measured.blocks,
        }
    }
}

impl GrowthReport {
    pub(crate) fn new(labels: &'static [&'static str]) -> Self {
        Self {
            labels,
            sizes: Vec::new(),
        }
    }

    pub(crate) fn add_size(&mut self, minutes: i64, requests: Vec<MeasuredRequests>) {
        self.sizes.push(MeasuredSize { minutes, requests });
    }

    /// Prints the figures of one kind of request, and how much the last ones exceed the first ones.
    fn write_line(&self, f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
        write!(f, "  {:<36}", self.labels[index])?;
        let sizes = self.sizes.iter();
        let figures: Vec<GrowthFigures> =
            sizes.map(|size| (&size.requests[index]).into()).collect();
        for GrowthFigures { p50, p99, blocks } in &figures {
            write!(f, " {p50:>7.1} {p99:>7.1} {blocks:>7.0}")?;
        }
        if let [first, .., last] = &figures[..] {
            let factor = |figure: fn(&GrowthFigures) -> f64| figure(last) / figure(first);
            let (p50, p99) = (factor(|of| of.p50), factor(|of| of.p99));
            write!(f, "  {p50:>5.2} {p99:>5.2} {:>5.2}", factor(|of| of.blocks))?;
        }
        writeln!(f)
    }
}

impl fmt::Display for GrowthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nBy millions of minutes: ms (p50, p99) and blocks of Postgres; factors, at most {FACTOR_MAX}"
        )?;
        write!(f, "  {:<36}", "")?;
        for size in &self.sizes {
            write!(f, " {:>23.1}", size.minutes as f64 / 1e6)?;
        }
        writeln!(f)?;
        (0..self.labels.len()).try_for_each(|index| self.write_line(f, index))
    }
}
