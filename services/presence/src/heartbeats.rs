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
use talktime_proto::events::v1::{Event, SignsOfLife};
use talktime_proto::timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::HeartbeatsConfig;
use crate::domain::PresenceError;
use crate::events::sign_of_life;
use crate::statuses::Statuses;
use crate::store::user_status::Alive;

/// A broadcast that nobody needs later is not waited for longer.
const BROADCAST_TIMEOUT: Duration = Duration::from_millis(50);
/// One group commits while the next is written.
const GROUPS_AT_ONCE: usize = 2;

/// Where signs of life are handed in; cheap to clone.
#[derive(Clone)]
pub struct Heartbeats {
    queue: mpsc::Sender<Heartbeat>,
}

/// Signs of life that came together.
struct Heartbeat {
    user_ids: Vec<i64>,
    answer: oneshot::Sender<Answer>,
}

/// Who of them is unknown; or why the whole group failed.
type Answer = Result<Vec<i64>, Arc<Error>>;

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
        let unknown = self.beat_all(vec![user_id]).await?;
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(PresenceError::UserNotFound)
        }
    }

    /// Signs of life of many; answers, when they are stored, who of them is unknown.
    pub async fn beat_all(&self, user_ids: Vec<i64>) -> Result<Vec<i64>, PresenceError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Heartbeat { user_ids, answer })
            .map_err(|_| PresenceError::Overloaded)?;
        match answered.await {
            Ok(Ok(unknown)) => Ok(unknown),
            Ok(Err(shared)) => Err(PresenceError::Store(Error::of_shared(shared))),
            // The service stops.
            Err(_) => Err(PresenceError::Overloaded),
        }
    }
}

struct Grouping {
    config: HeartbeatsConfig,
    statuses: Statuses,
    nats: Option<async_nats::Client>,
    queued: mpsc::Receiver<Heartbeat>,
}

impl Grouping {
    async fn run(mut self) {
        let mut storing = JoinSet::new();
        while let Some(group) = self.next_group().await {
            if storing.len() == GROUPS_AT_ONCE {
                storing.join_next().await;
            }
            storing.spawn(store(self.statuses.clone(), self.nats.clone(), group));
        }
        storing.join_all().await;
    }

    /// Waits for a heartbeat, then takes what else is there or comes soon.
    async fn next_group(&mut self) -> Option<Vec<Heartbeat>> {
        let mut group = vec![self.queued.recv().await?];
        let mut people = group[0].user_ids.len();
        let deadline = Instant::now() + Duration::from_millis(self.config.wait_ms);
        while people < self.config.group_max {
            match timeout_at(deadline, self.queued.recv()).await {
                Ok(Some(heartbeat)) => {
                    people += heartbeat.user_ids.len();
                    group.push(heartbeat);
                }
                Ok(None) | Err(_) => break,
            }
        }
        Some(group)
    }
}

async fn store(statuses: Statuses, nats: Option<async_nats::Client>, group: Vec<Heartbeat>) {
    match statuses.revive(&distinct_ids(&group)).await {
        Ok(alive) => {
            answer_all(group, &alive);
            if let Some(nats) = &nats {
                broadcast(nats, &alive).await;
            }
        }
        Err(error) => fail_all(group, error),
    }
}

/// Tells the open sockets; nothing is lost with what does not get there, since the next heartbeat tells
/// the same.
async fn broadcast(nats: &async_nats::Client, alive: &[Alive]) {
    // A client that is not connected would keep them, and send stale ones later.
    if nats.connection_state() != State::Connected {
        return;
    }
    let statuses = alive.iter().map(live_event).collect();
    let payload = SignsOfLife { statuses }.encode_to_vec().into();
    let published = nats.publish(LIVE_PRESENCE_SUBJECT, payload);
    if !matches!(timeout(BROADCAST_TIMEOUT, published).await, Ok(Ok(()))) {
        tracing::debug!("a broadcast of presence got lost");
    }
}

fn live_event(alive: &Alive) -> Event {
    Event {
        version: alive.version,
        happened_at: Some(timestamp(alive.last_seen)),
        kind: Some(sign_of_life(alive, false)),
    }
}

fn distinct_ids(group: &[Heartbeat]) -> Vec<i64> {
    let mut ids: Vec<i64> = group
        .iter()
        .flat_map(|heartbeat| heartbeat.user_ids.iter().copied())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn answer_all(group: Vec<Heartbeat>, alive: &[Alive]) {
    let known: HashSet<i64> = alive.iter().map(|alive| alive.user_id).collect();
    for Heartbeat {
        mut user_ids,
        answer,
    } in group
    {
        user_ids.retain(|user_id| !known.contains(user_id));
        // Who has stopped waiting needs no answer.
        let _ = answer.send(Ok(user_ids));
    }
}

fn fail_all(group: Vec<Heartbeat>, error: PresenceError) {
    let shared = Arc::new(Error::from(error));
    for Heartbeat { answer, .. } in group {
        let _ = answer.send(Err(shared.clone()));
    }
}
