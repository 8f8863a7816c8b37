//! Signs of life, stored in groups: each waits a few milliseconds at most for others, hundreds
//! share one statement and one commit, and each is answered after it.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use prost::Message as _;
use talktime_kit::Error;
use talktime_proto::events::LIVE_PRESENCE_SUBJECT;
use talktime_proto::events::v1::Event;
use talktime_proto::timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::HeartbeatsConfig;
use crate::domain::{PresenceError, UserStatus};
use crate::events::status_changed;
use crate::statuses::Statuses;

/// A broadcast that nobody needs later is not waited for longer.
const BROADCAST_TIMEOUT: Duration = Duration::from_millis(50);

/// Where signs of life are handed in; cheap to clone.
#[derive(Clone)]
pub struct Heartbeats {
    queue: mpsc::Sender<Heartbeat>,
}

struct Heartbeat {
    user_id: i64,
    answer: oneshot::Sender<Answer>,
}

/// Whether the user is known; or why the whole group failed.
type Answer = Result<bool, Arc<Error>>;

impl Heartbeats {
    /// The place to hand them in, and the task that groups them: it ends when the last clone of
    /// the former is dropped. With `nats`, everybody's status is broadcast after each sign of life.
    pub fn new(
        config: HeartbeatsConfig,
        statuses: Statuses,
        nats: Option<async_nats::Client>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, queued) = mpsc::channel(config.queued_max);
        let grouping = Grouping {
            config,
            statuses,
            nats,
            queued,
        };
        (Self { queue }, grouping.run())
    }

    /// A sign of life; answers when it is stored.
    pub async fn beat(&self, user_id: i64) -> Result<(), PresenceError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Heartbeat { user_id, answer })
            .map_err(|_| PresenceError::Overloaded)?;
        match answered.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(PresenceError::UserNotFound),
            Ok(Err(shared)) => Err(PresenceError::Store(one_of_many(shared))),
            // The service stops.
            Err(_) => Err(PresenceError::Overloaded),
        }
    }
}

/// The group's error as each of its members gets it.
fn one_of_many(shared: Arc<Error>) -> Error {
    Error::new(
        shared.kind(),
        shared.code().to_owned(),
        shared.detail().to_owned(),
    )
    .with_source(shared)
}

struct Grouping {
    config: HeartbeatsConfig,
    statuses: Statuses,
    nats: Option<async_nats::Client>,
    queued: mpsc::Receiver<Heartbeat>,
}

impl Grouping {
    async fn run(mut self) {
        while let Some(group) = self.next_group().await {
            let user_ids = distinct_ids(&group);
            match self.statuses.revive(&user_ids).await {
                Ok(alive) => {
                    answer_all(group, &alive);
                    self.broadcast(&alive).await;
                }
                Err(error) => fail_all(group, error),
            }
        }
    }

    /// Waits for a heartbeat, then takes what else is there or comes soon.
    async fn next_group(&mut self) -> Option<Vec<Heartbeat>> {
        let mut group = vec![self.queued.recv().await?];
        let deadline = Instant::now() + Duration::from_millis(self.config.wait_ms);
        while group.len() < self.config.group_max {
            let room = self.config.group_max - group.len();
            let more = self.queued.recv_many(&mut group, room);
            match timeout_at(deadline, more).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Some(group)
    }

    /// Tells the open sockets; nothing is lost with what does not get there, since the next
    /// heartbeat tells the same.
    async fn broadcast(&self, alive: &[UserStatus]) {
        let Some(nats) = &self.nats else { return };
        // A client that is not connected would keep them, and send stale ones later.
        if nats.connection_state() != State::Connected {
            return;
        }
        let publish_all = async {
            for status in alive {
                let payload = live_event(status).encode_to_vec().into();
                nats.publish(LIVE_PRESENCE_SUBJECT, payload).await?;
            }
            Ok::<_, async_nats::PublishError>(())
        };
        if !matches!(timeout(BROADCAST_TIMEOUT, publish_all).await, Ok(Ok(()))) {
            tracing::debug!("a broadcast of presence got lost");
        }
    }
}

fn live_event(status: &UserStatus) -> Event {
    Event {
        version: status.version,
        happened_at: Some(timestamp(status.last_seen)),
        kind: Some(status_changed(status)),
    }
}

fn distinct_ids(group: &[Heartbeat]) -> Vec<i64> {
    let distinct: HashSet<i64> = group.iter().map(|heartbeat| heartbeat.user_id).collect();
    distinct.into_iter().collect()
}

fn answer_all(group: Vec<Heartbeat>, alive: &[UserStatus]) {
    let known: HashSet<i64> = alive.iter().map(|status| status.user_id).collect();
    for Heartbeat { user_id, answer } in group {
        // Who has stopped waiting needs no answer.
        let _ = answer.send(Ok(known.contains(&user_id)));
    }
}

fn fail_all(group: Vec<Heartbeat>, error: PresenceError) {
    let shared = Arc::new(Error::from(error));
    for Heartbeat { answer, .. } in group {
        let _ = answer.send(Err(shared.clone()));
    }
}
