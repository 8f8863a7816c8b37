//! The stages of a start and of an end of a call, by the metrics of the processes that take them.

use std::fmt;

use crate::ops_metrics::{DurationHistogram, ProcessMetrics};

const BATCH_WAIT: &str = "batch_wait_seconds";
const BATCH_DURATION: &str = "batch_duration_seconds";
const COMMIT_DURATION: &str = "db_commit_duration_seconds";
const HTTP_DURATION: &str = "http_server_duration_seconds";
const GRPC_DURATION: &str = "grpc_server_duration_seconds";

/// A histogram of a process, and the stage that it measures. Spaces before the name show which stage contains it.
struct CallStage {
    name: &'static str,
    process: &'static str,
    metric: &'static str,
    label: &'static str,
}

const fn stage(
    name: &'static str,
    process: &'static str,
    metric: &'static str,
    label: &'static str,
) -> CallStage {
    CallStage {
        name,
        process,
        metric,
        label,
    }
}

const STAGES: [CallStage; 22] = [
    stage(
        "start, at the gateway",
        "gateway",
        HTTP_DURATION,
        "/calls/start\"",
    ),
    stage(
        "  waits for its batch",
        "calls",
        BATCH_WAIT,
        "batch=\"start\"",
    ),
    stage("  its batch", "calls", BATCH_DURATION, "batch=\"start\""),
    stage("    check", "calls", BATCH_DURATION, "batch=\"check\""),
    stage("      profile", "profile", GRPC_DURATION, "/CheckCalls\""),
    stage(
        "      presence",
        "presence",
        GRPC_DURATION,
        "/GetStatuses\"",
    ),
    stage("    reserve", "calls", BATCH_DURATION, "batch=\"reserve\""),
    stage("    charge", "calls", BATCH_DURATION, "batch=\"charge\""),
    stage("      wallet", "wallet", GRPC_DURATION, "/ChargeBatch\""),
    stage("    go live", "calls", BATCH_DURATION, "batch=\"go_live\""),
    stage(
        "    presence, ends included",
        "calls",
        BATCH_DURATION,
        "batch=\"presence\"",
    ),
    stage(
        "      presence",
        "presence",
        GRPC_DURATION,
        "/FollowCalls\"",
    ),
    stage(
        "end, at the gateway",
        "gateway",
        HTTP_DURATION,
        "/calls/end\"",
    ),
    stage(
        "  waits for its batch",
        "calls",
        BATCH_WAIT,
        "batch=\"end\"",
    ),
    stage("  its batch", "calls", BATCH_DURATION, "batch=\"end\""),
    stage(
        "  waits for its settlement",
        "calls",
        BATCH_WAIT,
        "batch=\"settle\"",
    ),
    stage("  settlement", "calls", BATCH_DURATION, "batch=\"settle\""),
    stage("    wallet", "wallet", GRPC_DURATION, "/SettleBatch\""),
    stage("commits of calls", "calls", COMMIT_DURATION, ""),
    stage("commits of the wallet", "wallet", COMMIT_DURATION, ""),
    stage("commits of presence", "presence", COMMIT_DURATION, ""),
    stage("commits of profile", "profile", COMMIT_DURATION, ""),
];

const PROCESSES: [&str; 5] = ["gateway", "calls", "wallet", "presence", "profile"];

/// The durations of all stages since the processes have started, or between two moments.
pub(crate) struct StageDurations(Vec<DurationHistogram>);

impl StageDurations {
    /// Reads the metrics of all processes.
    pub(crate) async fn read() -> anyhow::Result<Self> {
        let mut pages = Vec::with_capacity(PROCESSES.len());
        for process in PROCESSES {
            pages.push((process, ProcessMetrics::read(process).await?));
        }
        let mut durations = Vec::with_capacity(STAGES.len());
        for stage in &STAGES {
            let page = pages.iter().find(|(process, _)| *process == stage.process);
            let histogram = page.map(|(_, page)| page.histogram(stage.metric, stage.label));
            durations.push(histogram.unwrap_or_default());
        }
        Ok(Self(durations))
    }

    /// Returns the durations from `before` to this moment.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let durations = self.0.iter().zip(&before.0);
        Self(
            durations
                .map(|(after, before)| after.since(before))
                .collect(),
        )
    }
}

/// The stages under several loads.
#[derive(Default)]
pub(crate) struct StageTable {
    columns: Vec<(String, StageDurations)>,
}

impl StageTable {
    pub(crate) fn add_column(&mut self, load: String, durations: StageDurations) {
        self.columns.push((load, durations));
    }
}

impl fmt::Display for StageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {:<28}", "Stages: median, mean in ms")?;
        for (load, _) in &self.columns {
            write!(f, " {load:>22}")?;
        }
        writeln!(f)?;
        for (index, stage) in STAGES.iter().enumerate() {
            write!(f, "  {:<28}", stage.name)?;
            for (_, durations) in &self.columns {
                let duration = &durations.0[index];
                if duration.count() > 0.0 {
                    let (median, mean) = (duration.median_ms(), duration.mean_ms());
                    write!(f, " {median:>13.2}, {mean:>7.2}")?;
                } else {
                    write!(f, " {:>22}", "-")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
