//! Builds requested exports and deletes expired ones, periodically.

use std::borrow::Cow;
use std::time::Duration;

use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::exports::build::DataExportBuilder;

/// Pause between two searches for exports that were requested of another replica, or that are to be built again. A request
/// of this replica wakes the search.
const BUILD_EVERY: Duration = Duration::from_secs(10);
const DELETE_EVERY: Duration = Duration::from_mins(10);
/// Shorter than the lease of an export, so that a turn that is dropped is not the second one for its export.
const TURN_TIMEOUT: Duration = Duration::from_mins(5);

/// Starts both kinds of work until the service stops.
pub fn start(lifecycle: &ProcessLifecycle, builder: &DataExportBuilder) {
    let periodic_work = |name, interval| PeriodicWork {
        name: Cow::Borrowed(name),
        interval,
        retry_after: interval,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AfterInterval,
    };
    let builds = builder.clone();
    let build = periodic_work("verification.build_exports", BUILD_EVERY);
    periodic::start_wakeable(lifecycle, build, builder.waker(), move || {
        let builder = builds.clone();
        async move {
            let has_built = builder.build_next().await?;
            Ok(next_turn(has_built))
        }
    });
    let deletions = builder.clone();
    let delete = periodic_work("verification.delete_exports", DELETE_EVERY);
    periodic::start(lifecycle, delete, move || {
        let builder = deletions.clone();
        async move {
            let deleted = builder.delete_expired().await?;
            Ok(next_turn(deleted > 0))
        }
    });
}

fn next_turn(has_more: bool) -> NextTurnStart {
    if has_more {
        NextTurnStart::AtOnce
    } else {
        NextTurnStart::AfterInterval
    }
}
