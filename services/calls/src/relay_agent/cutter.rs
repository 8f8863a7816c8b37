//! Ends sessions of the relay: those that calls orders to cut, and those that the other loops find.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::Client;
use futures::StreamExt;
use prost::Message as _;
use talktime_kit::error::chain;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::progress::LoopProgress;
use talktime_proto::calls::relay_cut_subject;
use talktime_proto::calls::v1::RelayCut;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::{self, CutOutcome};
use super::relay_access::RelayAccess;
use super::session_key::SessionKey;
use super::shared_state::SharedState;
use super::turn_console::TurnConsole;

/// Sessions that wait to be ended. The next listing finds those that did not fit.
const QUEUED_MAX: usize = 20_000;
/// Longest wait for a session, after which the loop records its turn.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// Longest wait of the first cut for the subscription to the totals.
const HEARING_MAX: Duration = Duration::from_secs(2);
const SUBSCRIBE_AGAIN_AFTER: Duration = Duration::from_millis(500);
const TURN_MAX: Duration = Duration::from_mins(1);

/// The sessions that are to be ended; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct CutQueue(Sender<SessionKey>);

impl CutQueue {
    /// Starts the loop that ends the added sessions.
    ///
    /// The first cut waits a little for `hears_totals`: the relay publishes the totals of a session only at its end.
    pub(super) fn start(
        lifecycle: &ProcessLifecycle,
        access: Arc<RelayAccess>,
        hears_totals: CancellationToken,
    ) -> Self {
        let (sender, receiver) = channel(QUEUED_MAX);
        let cutter = SessionCutter {
            access,
            console: None,
            progress: lifecycle.register_loop("relay.cuts", TURN_MAX),
            stopping: lifecycle.stopping(),
        };
        lifecycle.spawn(cutter.run(receiver, hears_totals));
        Self(sender)
    }

    /// Adds sessions.
    pub(super) fn extend(&self, sessions: impl IntoIterator<Item = SessionKey>) {
        for session in sessions {
            if self.0.try_send(session).is_err() {
                tracing::warn!("too many sessions wait to be cut; the next listing finds the rest");
                return;
            }
        }
    }
}

struct SessionCutter {
    access: Arc<RelayAccess>,
    /// Stays open between cuts, so that the next one is quick.
    console: Option<TurnConsole>,
    progress: LoopProgress,
    stopping: CancellationToken,
}

impl SessionCutter {
    async fn run(mut self, mut sessions: Receiver<SessionKey>, hears_totals: CancellationToken) {
        // A relay whose Redis is away is cut all the same.
        let _ = timeout(HEARING_MAX, hears_totals.cancelled()).await;
        loop {
            self.progress.record_turn();
            tokio::select! {
                () = self.stopping.cancelled() => return,
                session = timeout(QUIET_MAX, sessions.recv()) => match session {
                    Ok(Some(session)) => self.cut_and_record(session).await,
                    Ok(None) => return,
                    Err(_elapsed) => {}
                },
            }
        }
    }

    async fn cut_and_record(&mut self, session: SessionKey) {
        match self.cut_with_retry(&session.session_id()).await {
            Ok(()) => {
                metrics::record_cut(CutOutcome::Cut);
                let call_id = session.username.seat.call_id;
                tracing::info!(call_id, session_id = session.allocation, "cut a session");
            }
            Err(error) => {
                metrics::record_cut(CutOutcome::Failed);
                tracing::error!(
                    error = chain(error.as_ref()),
                    call_id = session.username.seat.call_id,
                    "failed to cut a session; the next listing finds it again"
                );
            }
        }
    }

    /// Cuts a session, the second time with a new connection: a relay that was restarted has closed the old one.
    async fn cut_with_retry(&mut self, session_id: &str) -> anyhow::Result<()> {
        if self.console.is_some() && self.cut(session_id).await.is_ok() {
            return Ok(());
        }
        self.cut(session_id).await
    }

    async fn cut(&mut self, session_id: &str) -> anyhow::Result<()> {
        let mut console = self.access.open_console(&mut self.console).await?;
        console.cancel_session(session_id).await?;
        self.console = Some(console);
        Ok(())
    }
}

/// Follows the orders of calls until the agent stops.
pub(super) fn start_following_orders(
    lifecycle: &ProcessLifecycle,
    access: &RelayAccess,
    nats: Client,
    state: SharedState,
    cuts: CutQueue,
) {
    let orders = CutOrders {
        subject: relay_cut_subject(&access.relay.realm),
        nats,
        state,
        cuts,
        progress: lifecycle.register_loop("relay.cut_orders", TURN_MAX),
        stopping: lifecycle.stopping(),
    };
    lifecycle.spawn(orders.run());
}

struct CutOrders {
    subject: String,
    nats: Client,
    state: SharedState,
    cuts: CutQueue,
    progress: LoopProgress,
    stopping: CancellationToken,
}

impl CutOrders {
    async fn run(self) {
        while !self.stopping.is_cancelled() {
            if let Err(error) = self.follow().await {
                tracing::warn!(
                    error = chain(error.as_ref()),
                    "failed to follow the orders to cut; reports name the ended calls meanwhile"
                );
            }
            sleep(SUBSCRIBE_AGAIN_AFTER).await;
        }
    }

    /// Follows the orders until the subscription ends; the client renews it after a lost connection.
    async fn follow(&self) -> anyhow::Result<()> {
        let subscribed = self.nats.subscribe(self.subject.clone()).await;
        let mut orders = subscribed.context("failed to subscribe")?;
        loop {
            self.progress.record_turn();
            tokio::select! {
                () = self.stopping.cancelled() => return Ok(()),
                order = timeout(QUIET_MAX, orders.next()) => match order {
                    Ok(Some(order)) => self.execute_order(&order.payload),
                    Ok(None) => return Ok(()),
                    Err(_elapsed) => {}
                },
            }
        }
    }

    fn execute_order(&self, payload: &[u8]) {
        let Ok(RelayCut { usernames }) = RelayCut::decode(payload) else {
            tracing::warn!("failed to decode an order to cut; reports name the ended calls");
            return;
        };
        let sessions = self.state.lock().end_seats(&usernames, Instant::now());
        self.cuts.extend(sessions);
    }
}
