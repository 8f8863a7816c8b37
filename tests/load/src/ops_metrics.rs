//! The metrics of a process under measurement, as Prometheus reads them.

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

    /// Returns the only value of a metric.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<f64> {
        self.sum(name, "")
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
    }
}
