//! Metrics of the relay agent.

const SESSIONS: &str = "relay_sessions";
const CUTS: &str = "relay_cuts_total";
const LOST_MESSAGES: &str = "relay_statistics_lost_total";
const UNTRACKED: &str = "relay_sessions_untracked_total";
const REPORTED: &str = "relay_allocations_reported_total";

/// Registers every metric at zero, so that the first increment is visible as an increase.
pub(super) fn register_metrics() {
    update_sessions(0);
    for outcome in [CutOutcome::Cut, CutOutcome::Failed] {
        metrics::counter!(CUTS, "outcome" => outcome.label()).increment(0);
    }
    metrics::counter!(LOST_MESSAGES).increment(0);
    metrics::counter!(UNTRACKED).increment(0);
    metrics::counter!(REPORTED).increment(0);
}

/// Updates the number of live sessions.
#[allow(
    clippy::cast_precision_loss,
    reason = "a relay has far fewer than 2^52 sessions"
)]
pub(super) fn update_sessions(live: usize) {
    metrics::gauge!(SESSIONS).set(live as f64);
}

/// Outcome of an order to end a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum CutOutcome {
    Cut,
    /// The console of the relay did not answer; the next listing finds the session again.
    Failed,
}

impl CutOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Failed => "failed",
        }
    }
}

/// Records an order to end a session.
pub(super) fn record_cut(outcome: CutOutcome) {
    metrics::counter!(CUTS, "outcome" => outcome.label()).increment(1);
}

/// Records a gap in the messages of coturn.
pub(super) fn record_lost_messages() {
    metrics::counter!(LOST_MESSAGES).increment(1);
}

/// Records a session that the agent has no room for.
pub(super) fn record_untracked_session() {
    metrics::counter!(UNTRACKED).increment(1);
}

/// Records allocations that calls has stored.
pub(super) fn record_reported(allocations: usize) {
    metrics::counter!(REPORTED).increment(allocations as u64);
}
