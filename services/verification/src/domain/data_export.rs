//! Exports of users' own data: states, limits and keys.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::VerificationError;

/// Prefix of the keys of archives.
pub const EXPORT_PREFIX: &str = "data-exports/";
/// Time between two exports of a user.
const INTERVAL: TimeDelta = TimeDelta::hours(24);
/// Time for which an archive is kept.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// Attempts to build an export.
const ATTEMPTS_MAX: i32 = 5;
/// Pause after a failed attempt, multiplied by the number of attempts.
const RETRY_PAUSE: TimeDelta = TimeDelta::seconds(30);

/// The state of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum DataExportState {
    Pending,
    Ready,
    /// It could not be built; another one may be requested at once.
    Failed,
    /// The archive was deleted.
    Expired,
}

impl DataExportState {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// The latest export of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataExport {
    pub export_id: i64,
    pub user_id: i64,
    pub archive_key: Uuid,
    pub state: DataExportState,
    pub requested_at: DateTime<Utc>,
    pub attempts: i32,
    pub completed_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub length_bytes: Option<i64>,
}

impl DataExport {
    /// Refuses another export less than a day after this one, unless this one failed.
    pub fn check_next(&self, now: DateTime<Utc>) -> Result<(), VerificationError> {
        if self.state == DataExportState::Failed || now - self.requested_at >= INTERVAL {
            Ok(())
        } else {
            Err(VerificationError::ExportTooSoon)
        }
    }

    /// Returns whether the present attempt may be made. A process that dies during an attempt records no failure, so
    /// this ends an export that kills each of them.
    pub fn may_be_attempted(&self) -> bool {
        self.attempts <= ATTEMPTS_MAX
    }

    /// Returns when the next attempt is due after one that failed now; `None` if there is none.
    pub fn next_attempt(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (self.attempts < ATTEMPTS_MAX).then(|| now + RETRY_PAUSE * self.attempts)
    }

    /// Returns the key of the archive.
    pub fn object_key(&self) -> String {
        format!(
            "{EXPORT_PREFIX}{}/{}.zip",
            self.user_id,
            self.archive_key.simple()
        )
    }
}

/// Extracts the random part from a key that [`DataExport::object_key`] has built.
pub fn parse_archive_key(object_key: &str) -> Option<Uuid> {
    let (_, name) = object_key.strip_prefix(EXPORT_PREFIX)?.split_once('/')?;
    Uuid::try_parse(name.strip_suffix(".zip")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(state: DataExportState) -> DataExport {
        DataExport {
            export_id: 1,
            user_id: 7,
            archive_key: Uuid::from_u128(0xAB),
            state,
            requested_at: DateTime::from_timestamp(1_800_000_000, 0).expect("valid"),
            attempts: 1,
            completed_at: None,
            expires_at: None,
            length_bytes: None,
        }
    }

    #[test]
    fn a_user_gets_one_export_a_day() {
        let first = export(DataExportState::Ready);
        let after = |hours| first.check_next(first.requested_at + TimeDelta::hours(hours));
        assert!(after(0).is_err() && after(23).is_err() && after(24).is_ok());
        let failed = export(DataExportState::Failed);
        assert!(failed.check_next(failed.requested_at).is_ok());
    }

    #[test]
    fn attempts_are_bounded() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
        let mut pending = export(DataExportState::Pending);
        assert_eq!(pending.next_attempt(now), Some(now + RETRY_PAUSE));
        pending.attempts = ATTEMPTS_MAX;
        assert_eq!(pending.next_attempt(now), None);
        assert!(pending.may_be_attempted());
        pending.attempts += 1;
        assert!(!pending.may_be_attempted());
    }

    #[test]
    fn an_archive_is_recognised_by_its_key() {
        let pending = export(DataExportState::Pending);
        let key = parse_archive_key(&pending.object_key());
        assert_eq!(key, Some(pending.archive_key));
        assert_eq!(parse_archive_key("profile-photos/7/ab.jpg"), None);
    }
}
