//! Limits of requests.

/// Longest wait that a user may announce, in minutes: a day.
pub(super) const WAIT_TIME_MINUTES_MAX: i32 = 24 * 60;
/// Statuses in one request.
pub(super) const STATUSES_MAX: usize = 200;
/// Heartbeats in one request.
pub(super) const HEARTBEATS_MAX: usize = 1_000;
/// Users in one list of online users.
pub(super) const ONLINE_MAX: i32 = 1_000;
/// Logins and logouts in one request.
pub(super) const SESSION_CHANGES_MAX: usize = 1_000;
/// Starts and ends of calls in one request.
pub(super) const CALL_CHANGES_MAX: usize = 1_000;
