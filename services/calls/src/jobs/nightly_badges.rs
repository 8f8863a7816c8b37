//! Assigns the badges of each day.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_kit::{Clock, Error};

use crate::badges::BadgeService;

const ASSIGNMENT_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("calls.badges"),
    // The maximum delay of the badges of a day after 00:01.
    interval: Duration::from_secs(15),
    retry_after: Duration::from_secs(15),
    // Each day of a longer downtime is committed by itself.
    deadline: Duration::from_mins(10),
    first_turn: FirstTurnStart::AtOnce,
};

/// Assigns the badges of each day when they are due, until the service stops. Every replica runs this; an
/// advisory lock lets one of them do the work.
pub(crate) fn start_nightly_assignment(
    lifecycle: &ProcessLifecycle,
    service: BadgeService,
    clock: Clock,
) {
    periodic::start(lifecycle, ASSIGNMENT_WORK, move || {
        assign_due_badges(service.clone(), clock.now())
    });
}

async fn assign_due_badges(
    service: BadgeService,
    now: DateTime<Utc>,
) -> anyhow::Result<NextTurnStart> {
    let assigned = service.assign_missed_days(now).await;
    let days = assigned
        .map_err(Error::from)
        .context("failed to assign badges")?;
    if days > 0 {
        tracing::info!(days, "assigned the badges of days that were due");
    }
    Ok(NextTurnStart::AfterInterval)
}
