//! The table of the measurement of growth: durations by size, and how they differ between the first and the last one.

use std::fmt;

use hdrhistogram::Histogram;

use crate::report::quantile;

/// The largest factor between the first and the last size that is acceptable.
const FACTOR_MAX: f64 = 1.3;

/// Durations of several kinds of requests, at several sizes.
pub(crate) struct GrowthReport {
    labels: &'static [&'static str],
    sizes: Vec<MeasuredSize>,
}

/// Durations at one size, in the order of the labels.
struct MeasuredSize {
    minutes: i64,
    latencies: Vec<Histogram<u64>>,
}

impl GrowthReport {
    pub(crate) fn new(labels: &'static [&'static str]) -> Self {
        Self {
            labels,
            sizes: Vec::new(),
        }
    }

    pub(crate) fn add_size(&mut self, minutes: i64, latencies: Vec<Histogram<u64>>) {
        self.sizes.push(MeasuredSize { minutes, latencies });
    }

    /// Returns how much longer a request takes at the last size than at the first one.
    fn factor(&self, index: usize, share: f64) -> f64 {
        let at = |size: Option<&MeasuredSize>| {
            size.map_or(0.0, |size| quantile(&size.latencies[index], share))
        };
        at(self.sizes.last()) / at(self.sizes.first())
    }
}

impl fmt::Display for GrowthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nDurations in ms by millions of minutes (p50, p99)")?;
        write!(f, "  {:<38}", "")?;
        for size in &self.sizes {
            write!(f, " {:>15.1}", size.minutes as f64 / 1e6)?;
        }
        writeln!(f, "  factors, at most {FACTOR_MAX}")?;
        for (index, label) in self.labels.iter().enumerate() {
            write!(f, "  {label:<38}")?;
            for size in &self.sizes {
                let latency = &size.latencies[index];
                let (p50, p99) = (quantile(latency, 0.5), quantile(latency, 0.99));
                write!(f, " {p50:>7.1} {p99:>7.1}")?;
            }
            let (p50, p99) = (self.factor(index, 0.5), self.factor(index, 0.99));
            writeln!(f, "  {p50:>6.2} {p99:>6.2}")?;
        }
        Ok(())
    }
}
