//! Deletes rows that have been kept for long enough: unanswered calls, the traffic of relays, and
//! seats with what was known of their minutes.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::store::{relay_allocations, rings, seats};

/// Days for which unanswered calls are kept.
const UNANSWERED_DAYS: i32 = 180;
/// Days for which seats and the traffic of relays are kept, longer than a caller may dispute a call.
const RELAY_DAYS: i32 = 90;
/// Rows deleted in one transaction.
const BATCH_ROWS: i64 = 1_000;
const EVERY: Duration = Duration::from_hours(1);
const RETRY_AFTER: Duration = Duration::from_mins(1);
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Rows that are deleted when they are old.
#[derive(Clone, Copy, Debug)]
enum ExpiringRows {
    UnansweredCalls,
    RelayAllocations,
    Seats,
}

impl ExpiringRows {
    const ALL: [Self; 3] = [Self::UnansweredCalls, Self::RelayAllocations, Self::Seats];

    fn job_name(self) -> &'static str {
        match self {
            Self::UnansweredCalls => "calls.unanswered_cleanup",
            Self::RelayAllocations => "calls.relay_cleanup",
            Self::Seats => "calls.seat_cleanup",
        }
    }

    async fn delete_batch(self, tx: &mut PgConnection) -> sqlx::Result<u64> {
        match self {
            Self::UnansweredCalls => {
                rings::delete_old_unanswered(tx, UNANSWERED_DAYS, BATCH_ROWS).await
            }
            Self::RelayAllocations => {
                relay_allocations::delete_old(tx, RELAY_DAYS, BATCH_ROWS).await
            }
            Self::Seats => seats::delete_old(tx, RELAY_DAYS, BATCH_ROWS).await,
        }
    }
}

/// Deletes old rows until the service stops. Every replica runs this; they skip rows that another deletes.
pub(crate) fn start_cleanup(lifecycle: &ProcessLifecycle, db: &DatabasePool) {
    for rows in ExpiringRows::ALL {
        let work = PeriodicWork {
            name: Cow::Borrowed(rows.job_name()),
            interval: EVERY,
            retry_after: RETRY_AFTER,
            deadline: TURN_TIMEOUT,
            first_turn: FirstTurnStart::AfterInterval,
        };
        let db = db.clone();
        periodic::start(lifecycle, work, move || delete_batch(db.clone(), rows));
    }
}

async fn delete_batch(db: DatabasePool, rows: ExpiringRows) -> anyhow::Result<NextTurnStart> {
    let mut tx = db.begin().await?;
    let deleted = rows.delete_batch(&mut tx).await?;
    tx.commit().await?;
    let is_full = i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH_ROWS);
    Ok(if is_full {
        NextTurnStart::AtOnce
    } else {
        NextTurnStart::AfterInterval
    })
}
