//! Follows the messages that coturn publishes in its Redis.

use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::error::chain;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::progress::LoopProgress;
use talktime_kit::redis::commands::{EventInterface, PubsubInterface};
use talktime_kit::redis::{Message, SubscriberClient};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::cutter::CutQueue;
use super::metrics;
use super::relay_access::RelayAccess;
use super::shared_state::SharedState;
use super::statistics::{channel_pattern, parse_message};

/// Longest wait for a message, after which the loop records its turn.
const QUIET_MAX: Duration = Duration::from_secs(5);
const SUBSCRIBE_AGAIN_AFTER: Duration = Duration::from_millis(500);
const TURN_MAX: Duration = Duration::from_mins(1);

pub(super) struct StatisticsFollower {
    realm: String,
    state: SharedState,
    cuts: CutQueue,
    progress: LoopProgress,
    stopping: CancellationToken,
}

impl StatisticsFollower {
    pub(super) fn new(
        lifecycle: &ProcessLifecycle,
        access: &RelayAccess,
        state: SharedState,
        cuts: CutQueue,
    ) -> Self {
        Self {
            realm: access.relay.realm.clone(),
            state,
            cuts,
            progress: lifecycle.register_loop("relay.statistics", TURN_MAX),
            stopping: lifecycle.stopping(),
        }
    }

    /// Follows the messages until the agent stops. Cancels `hears_totals` once no message is missed any more.
    pub(super) async fn run(self, statistics: SubscriberClient, hears_totals: CancellationToken) {
        let mut messages = statistics.message_rx();
        let mut reconnects = statistics.reconnect_rx();
        let _resubscription = statistics.manage_subscriptions();
        self.subscribe(&statistics).await;
        hears_totals.cancel();
        while !self.stopping.is_cancelled() {
            self.progress.record_turn();
            tokio::select! {
                // A gap is recorded before the messages after it.
                biased;
                () = self.stopping.cancelled() => return,
                _ = reconnects.recv() => self.record_gap("the connection to Redis was lost"),
                received = timeout(QUIET_MAX, messages.recv()) => match received {
                    Ok(Ok(message)) => self.apply_message(&message),
                    Ok(Err(RecvError::Lagged(_))) => self.record_gap("too many messages waited"),
                    Ok(Err(RecvError::Closed)) => return,
                    Err(_elapsed) => {}
                },
            }
        }
    }

    /// Subscribes, however long Redis is away.
    async fn subscribe(&self, statistics: &SubscriberClient) {
        let pattern = channel_pattern(&self.realm);
        let mut is_failing = false;
        while let Err(error) = statistics.psubscribe(pattern.as_str()).await {
            self.progress.record_turn();
            if !is_failing {
                tracing::warn!(
                    error = chain(&error),
                    "failed to subscribe to the statistics of the relay; will retry"
                );
            }
            is_failing = true;
            tokio::select! {
                () = sleep(SUBSCRIBE_AGAIN_AFTER) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    fn apply_message(&self, message: &Message) {
        let Some(payload) = message.value.as_string() else {
            return;
        };
        if let Some(event) = parse_message(&self.realm, &message.channel, &payload) {
            let uncut = self.state.lock().apply_event(event, Clock::System.now());
            self.cuts.extend(uncut);
        }
    }

    fn record_gap(&self, cause: &'static str) {
        let sessions = self.state.lock().sessions.record_lost_messages();
        // The first connection is no gap.
        if sessions > 0 {
            metrics::record_lost_messages();
            tracing::warn!(
                cause,
                sessions,
                "messages of the relay were lost; listings give the totals of the sessions that were live"
            );
        }
    }
}
