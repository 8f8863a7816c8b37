//! Waits for the last word of the relays about a call that has ended.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

use crate::domain::call::{Call, CallMedia};
use crate::service::CallService;
use crate::store::relay_allocations;

/// Longest wait after the end of a call. A relay that cuts a session tells its totals at once, and the agent reports
/// them within half a second. Without them the last seconds of a call would be unknown: relays publish the traffic of
/// a session that goes on only every 17 to 41 seconds.
const TOTALS_WITHIN: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);

impl CallService {
    /// Waits until every session of a call that has just ended is counted to its end. A relay that is away delays the
    /// settlement no longer than [`TOTALS_WITHIN`], and that of a call that ended earlier not at all.
    pub(crate) async fn await_relay_totals(&self, call: &Call) -> sqlx::Result<()> {
        let deadline = Instant::now() + longest_wait(call).unwrap_or_default();
        while Instant::now() < deadline {
            let mut connection = self.db.acquire().await?;
            if !relay_allocations::has_live(&mut connection, call.call_id).await? {
                break;
            }
            drop(connection);
            sleep(POLL).await;
        }
        Ok(())
    }
}

fn longest_wait(call: &Call) -> Option<Duration> {
    let ended_at = call.start_time? + TimeDelta::seconds(call.duration_seconds?);
    let since_end = (call.read_at - ended_at).to_std().unwrap_or_default();
    (call.media == CallMedia::Platform).then(|| TOTALS_WITHIN.saturating_sub(since_end))
}
