//! Waits for the last word of the relays about a call that has ended, or is about to.

use std::time::Duration;

use chrono::TimeDelta;
use talktime_kit::Error;
use tokio::time::{Instant, sleep};

use crate::domain::CallError;
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
        self.await_totals_within(call.call_id, longest_wait(call).unwrap_or_default())
            .await
    }

    /// Cuts a call that ends while it connects, and waits for the totals of its relays. Apps that report nothing could
    /// otherwise talk free until the relay publishes traffic for the first time. Returns whether the call had sessions:
    /// then it has none any more, and must end, whatever was counted.
    pub(crate) async fn cut_and_count(&self, call: &Call) -> bool {
        match self.try_cut_and_count(call).await.map_err(Error::from) {
            Ok(was_cut) => was_cut,
            Err(error) => {
                let call_id = call.call_id;
                tracing::warn!(
                    %error,
                    call_id,
                    "failed to count the media of a call that ends while it connects; only what was counted before is paid"
                );
                false
            }
        }
    }

    async fn try_cut_and_count(&self, call: &Call) -> Result<bool, CallError> {
        let mut connection = self.db.acquire().await?;
        let has_sessions = relay_allocations::has_live(&mut connection, call.call_id).await?;
        drop(connection);
        if has_sessions {
            self.close_seats(std::slice::from_ref(call)).await?;
            self.await_totals_within(call.call_id, TOTALS_WITHIN)
                .await?;
        }
        Ok(has_sessions)
    }

    async fn await_totals_within(&self, call_id: i64, longest: Duration) -> sqlx::Result<()> {
        let deadline = Instant::now() + longest;
        while Instant::now() < deadline {
            let mut connection = self.db.acquire().await?;
            if !relay_allocations::has_live(&mut connection, call_id).await? {
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
