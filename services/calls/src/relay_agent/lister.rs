//! Lists the sessions of the relay from time to time: at the start, to find what began before, and later, to find
//! what was missed, and to notice that the relay is down.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use tokio::sync::Mutex;

use super::cutter::CutQueue;
use super::listing::parse_listing;
use super::relay_access::RelayAccess;
use super::shared_state::SharedState;
use super::turn_console::TurnConsole;

const EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const TURN_TIMEOUT: Duration = Duration::from_secs(15);

/// Lists the sessions until the agent stops. The agent becomes ready with its first listing.
pub(super) fn start(
    lifecycle: &ProcessLifecycle,
    access: Arc<RelayAccess>,
    state: SharedState,
    cuts: CutQueue,
) {
    let work = PeriodicWork {
        name: Cow::Borrowed("relay.listing"),
        interval: EVERY,
        retry_after: RETRY_AFTER,
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AtOnce,
    };
    let lister = Arc::new(SessionLister {
        process: lifecycle.clone(),
        access,
        state,
        cuts,
        console: Mutex::new(None),
    });
    periodic::start(lifecycle, work, move || {
        let lister = lister.clone();
        async move { lister.list_once().await }
    });
}

struct SessionLister {
    process: ProcessLifecycle,
    access: Arc<RelayAccess>,
    state: SharedState,
    cuts: CutQueue,
    /// Stays open between listings, because coturn logs every login.
    console: Mutex<Option<TurnConsole>>,
}

impl SessionLister {
    async fn list_once(&self) -> anyhow::Result<NextTurnStart> {
        let listed = self.list_and_apply().await;
        self.state.lock().set_relay_up(listed.is_ok());
        listed?;
        if !self.process.is_ready() && !self.process.draining().is_cancelled() {
            self.process.set_ready();
        }
        Ok(NextTurnStart::AfterInterval)
    }

    async fn list_and_apply(&self) -> anyhow::Result<()> {
        let mut kept = self.console.lock().await;
        let mut console = self.access.open_console(&mut kept).await?;
        let asked_at = Clock::System.now();
        let output = console.list_sessions().await?;
        *kept = Some(console);
        let listed = parse_listing(&self.access.relay.realm, &output)?;
        let uncut = self.state.lock().apply_listing(&listed, asked_at);
        self.cuts.extend(uncut);
        Ok(())
    }
}
