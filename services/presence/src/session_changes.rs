//! Logins and logouts as auth reports them. Those that come in while a transaction commits share the next one.

use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher};
use talktime_kit::lifecycle::ProcessLifecycle;

use crate::changes::ReportedStatusChange;
use crate::domain::{PresenceError, UserStatus};
use crate::statuses::StatusService;

/// Records logins and logouts; cheap to clone.
#[derive(Clone)]
pub struct SessionChangeRecorder(Batcher<SessionChangeBatchHandler>);

/// Applies the changes of one batch.
struct SessionChangeBatchHandler {
    statuses: StatusService,
}

impl SessionChangeRecorder {
    /// Records in the background until the last clone is dropped.
    pub fn start(lifecycle: &ProcessLifecycle, statuses: StatusService) -> Self {
        let handler = SessionChangeBatchHandler { statuses };
        Self(Batcher::start(lifecycle, BatchLimits::REQUESTS, handler))
    }

    /// Applies logins and logouts, each of one user, and returns the current status of each, which a later one may have
    /// determined; `None` for a deleted user.
    pub async fn record_all(
        &self,
        changes: Vec<ReportedStatusChange>,
    ) -> Result<Vec<Option<UserStatus>>, PresenceError> {
        self.0.submit(changes).await
    }
}

impl BatchHandler for SessionChangeBatchHandler {
    const NAME: &'static str = "session_changes";
    /// The changes of one request.
    type Task = Vec<ReportedStatusChange>;
    /// The status after each; none for a deleted user.
    type Answer = Vec<Option<UserStatus>>;
    type Error = PresenceError;

    async fn handle(
        &self,
        batch: &[BatchItem<Vec<ReportedStatusChange>>],
    ) -> Result<Vec<Vec<Option<UserStatus>>>, PresenceError> {
        let reported = batch.iter().flat_map(|item| item.task.iter().cloned());
        let reported: Vec<ReportedStatusChange> = reported.collect();
        let results = self.statuses.apply_session_changes(&reported).await?;
        let mut statuses = results
            .into_iter()
            .map(|mut results| Some(results.pop()?.0));
        let answers = batch
            .iter()
            .map(|item| statuses.by_ref().take(item.task.len()).collect());
        Ok(answers.collect())
    }

    fn count_items(changes: &Vec<ReportedStatusChange>) -> usize {
        changes.len()
    }

    /// All changes share their statements, so an error concerns all of them.
    fn fails_whole_batch(_error: &PresenceError) -> bool {
        true
    }
}
