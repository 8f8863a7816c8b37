//! Logins and logouts as auth reports them. Those that come in while a transaction commits share the next one.

use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher};
use talktime_kit::lifecycle::ProcessLifecycle;

use crate::changes::ReportedStatusChange;
use crate::domain::{PresenceError, SessionChange, StatusChange, UserStatus};
use crate::statuses::StatusService;

/// Records logins and logouts; cheap to clone.
#[derive(Clone)]
pub struct SessionChangeRecorder(Batcher<SessionChangeBatchHandler>);

/// A login or logout of a user.
#[derive(Clone)]
struct UserSessionChange {
    user_id: i64,
    session: SessionChange,
}

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

    /// Applies a login or logout and returns the current status, which a later one may have determined.
    pub async fn record(
        &self,
        user_id: i64,
        session: SessionChange,
    ) -> Result<UserStatus, PresenceError> {
        let status = self
            .0
            .submit(UserSessionChange { user_id, session })
            .await?;
        status.ok_or(PresenceError::UserNotFound)
    }
}

impl BatchHandler for SessionChangeBatchHandler {
    const NAME: &'static str = "session_changes";
    type Task = UserSessionChange;
    /// None for a deleted user.
    type Answer = Option<UserStatus>;
    type Error = PresenceError;

    async fn handle(
        &self,
        batch: &[BatchItem<UserSessionChange>],
    ) -> Result<Vec<Option<UserStatus>>, PresenceError> {
        let reported = batch.iter().map(|item| ReportedStatusChange {
            user_ids: vec![item.task.user_id],
            change: StatusChange::Session(item.task.session.clone()),
            traceparent: item.traceparent.clone(),
        });
        let reported: Vec<ReportedStatusChange> = reported.collect();
        let results = self.statuses.apply_session_changes(&reported).await?;
        let statuses = results.into_iter().map(|mut results| results.pop());
        Ok(statuses.map(|result| Some(result?.0)).collect())
    }

    /// All changes share their statements, so an error concerns all of them.
    fn fails_whole_batch(_error: &PresenceError) -> bool {
        true
    }
}
