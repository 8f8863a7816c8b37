//! Ends calls without sound, and closes the seats of calls that are over.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Error;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::service::CallService;

/// How late the end of a silent call, and the cut of a seat whose first order was lost, may be.
const EVERY: Duration = Duration::from_secs(2);
/// The pause while no call has seats. It is far shorter than the time for which a call lasts without sound.
const EVERY_UNUSED: Duration = Duration::from_secs(5);
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Watches the media of calls until the service stops. Every replica runs this; two replicas that end the same call,
/// or cut the same seat, do no harm.
pub(crate) fn start_media_watch(lifecycle: &ProcessLifecycle, service: CallService) {
    let work = PeriodicWork {
        name: Cow::Borrowed("calls.media"),
        interval: EVERY_UNUSED,
        retry_after: EVERY,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AfterInterval,
    };
    periodic::start(lifecycle, work, move || watch_once(service.clone()));
}

async fn watch_once(service: CallService) -> anyhow::Result<NextTurnStart> {
    let watched = service.watch_media().await.map_err(Error::from);
    let counts = watched.context("failed to watch the media of calls")?;
    if counts.ended > 0 {
        tracing::info!(calls = counts.ended, "ended calls without sound");
    }
    Ok(if counts.watched > 0 {
        NextTurnStart::After(EVERY)
    } else {
        NextTurnStart::AfterInterval
    })
}
