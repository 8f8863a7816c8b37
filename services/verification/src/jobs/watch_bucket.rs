//! Records in the metrics whether the bucket answers. The service stays ready without it, since most of its
//! operations need no audio.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::bucket::ObjectBucket;
use crate::metrics::record_bucket_reachable;

const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Longer than the timeout of one check.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks the bucket periodically until the service stops.
pub fn start(lifecycle: &ProcessLifecycle, bucket: ObjectBucket) {
    let work = PeriodicWork {
        name: Cow::Borrowed("verification.bucket_watch"),
        interval: CHECK_EVERY,
        retry_after: CHECK_EVERY,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AtOnce,
    };
    periodic::start(lifecycle, work, move || {
        let bucket = bucket.clone();
        async move {
            record_bucket_reachable(bucket.is_reachable().await);
            Ok(NextTurnStart::AfterInterval)
        }
    });
}
