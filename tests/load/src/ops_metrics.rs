//! The metrics of a process under measurement, as Prometheus reads them.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::stack::read_variable;

/// The metrics of one process at one moment.
pub(crate) struct ProcessMetrics(String);

impl ProcessMetrics {
    /// Reads the metrics of a process, such as `profile`.
    pub(crate) async fn read(process: &str) -> anyhow::Result<Self> {
        let url = read_variable(&format!("{}_OPS_URL", process.to_uppercase()))?;
        let answer = reqwest::get(format!("{url}/metrics")).await?;
        Ok(Self(answer.error_for_status()?.text().await?))
    }

    /// Returns the sum of the series of a metric whose labels contain `label`, such as `source="index"`.
    pub(crate) fn sum(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let series = self.0.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let values: Vec<f64> = values.collect();
        values
            .iter()
            .copied()
            .reduce(|sum, value| sum + value)
            .context(name.to_owned())
    }

    /// Returns a histogram: the sum of the series whose labels contain `label`. It is empty if there is none yet.
    pub(crate) fn histogram(&self, name: &str, label: &str) -> DurationHistogram {
        let mut histogram = DurationHistogram {
            sum_secs: self.sum(&format!("{name}_sum"), label).unwrap_or_default(),
            buckets: Vec::new(),
        };
        let bucket = format!("{name}_bucket{{");
        for line in self.0.lines() {
            if line.starts_with(&bucket) && line.contains(label) {
                histogram.add_bucket(line);
            }
        }
        histogram
            .buckets
            .sort_by(|(one, _), (other, _)| one.total_cmp(other));
        histogram
    }

    /// Lists the series of a metric by their value of a label.
    pub(crate) fn list_by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let start = format!("{label}=\"");
        let series = self.0.lines().filter_map(|line| {
            let (labels, value) = line
                .strip_prefix(name)?
                .strip_prefix('{')?
                .rsplit_once(' ')?;
            let (_, rest) = labels.split_once(&start)?;
            let (label, _) = rest.split_once('"')?;
            Some((label.to_owned(), value.parse().ok()?))
        });
        series.collect()
    }

    /// Returns the only value of a metric.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<f64> {
        self.sum(name, "")
    }
}

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct DurationHistogram {
    sum_secs: f64,
    /// Upper bounds in seconds, each with the number of durations up to it; the last one is infinite.
    buckets: Vec<(f64, f64)>,
}

impl DurationHistogram {
    /// Adds a line such as `name_bucket{le="0.01"} 3`.
    fn add_bucket(&mut self, line: &str) {
        let bound = line
            .split_once("le=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        let bound = bound.and_then(|(bound, _)| bound.parse::<f64>().ok());
        let count = line
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse::<f64>().ok());
        let Some((bound, count)) = bound.zip(count) else {
            return;
        };
        let known = self
            .buckets
            .iter_mut()
            .find(|(known, _)| known.total_cmp(&bound).is_eq());
        match known {
            Some((_, known)) => *known += count,
            None => self.buckets.push((bound, count)),
        }
    }

    /// Returns what was recorded after `before`, which is an earlier state of the same histogram.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let count_before =
            |index: usize| before.buckets.get(index).map_or(0.0, |(_, count)| *count);
        let buckets = self.buckets.iter().enumerate();
        Self {
            sum_secs: self.sum_secs - before.sum_secs,
            buckets: buckets
                .map(|(index, (bound, count))| (*bound, count - count_before(index)))
                .collect(),
        }
    }

    /// Returns the number of durations.
    pub(crate) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// Returns the mean in milliseconds.
    pub(crate) fn mean_ms(&self) -> f64 {
        1_000.0 * self.sum_secs / self.count()
    }

    /// Returns the median in milliseconds, interpolated within its bucket.
    pub(crate) fn median_ms(&self) -> f64 {
        let half = self.count() / 2.0;
        let (mut lower, mut below) = (0.0_f64, 0.0_f64);
        for (upper, count) in &self.buckets {
            if *count >= half && upper.is_finite() {
                let share = (half - below) / (count - below).max(f64::MIN_POSITIVE);
                return 1_000.0 * (lower + (upper - lower) * share);
            }
            if upper.is_finite() {
                (lower, below) = (*upper, *count);
            }
        }
        1_000.0 * lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name_and_a_label() {
        let metrics = ProcessMetrics(
            "# TYPE pages counter\npages{source=\"index\"} 3\npages{source=\"database\"} 4\npages_more 5\n"
                .to_owned(),
        );
        assert!((metrics.get("pages").expect("found") - 7.0).abs() < f64::EPSILON);
        let index = metrics.sum("pages", "source=\"index\"").expect("found");
        assert!((index - 3.0).abs() < f64::EPSILON);
        assert!(metrics.get("page").is_err());
        let by_source: Vec<String> = metrics.list_by("pages", "source").into_keys().collect();
        assert_eq!(by_source, ["database", "index"]);
    }

    #[test]
    fn the_median_of_a_histogram_is_that_of_what_was_recorded_since() {
        let page = |fast: u32, slow: u32| {
            let all = fast + slow;
            let lines = format!(
                "wait_bucket{{batch=\"a\",le=\"0.001\"}} {fast}\nwait_bucket{{batch=\"a\",le=\"0.003\"}} {all}\n\
                 wait_bucket{{batch=\"a\",le=\"+Inf\"}} {all}\nwait_bucket{{batch=\"b\",le=\"+Inf\"}} 9\n\
                 wait_sum{{batch=\"a\"}} {}\n",
                f64::from(slow) * 0.002
            );
            ProcessMetrics(lines).histogram("wait", "batch=\"a\"")
        };
        let recorded = page(4, 4).since(&page(4, 0));
        assert!((recorded.count() - 4.0).abs() < 1e-9);
        assert!((recorded.median_ms() - 2.0).abs() < 1e-9);
        assert!((recorded.mean_ms() - 2.0).abs() < 1e-9);
        let nothing = ProcessMetrics(String::new()).histogram("wait", "");
        assert!(nothing.count().abs() < 1e-9);
    }
}
