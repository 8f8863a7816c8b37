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
use crate::domain::{PresenceError, SignOfLife};
use crate::events::sign_of_life;
use crate::statuses::{Revival, Statuses};
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
    signs: Vec<SignOfLife>,
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
    pub async fn beat(&self, sign: SignOfLife) -> Result<(), PresenceError> {
        let unknown = self.beat_all(vec![sign]).await?;
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(PresenceError::UserNotFound)
        }
    }

    /// Signs of life of many; answers, when they are stored, who of them is unknown.
    pub async fn beat_all(&self, signs: Vec<SignOfLife>) -> Result<Vec<i64>, PresenceError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Heartbeat { signs, answer })
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
        let mut people = group[0].signs.len();
        let deadline = Instant::now() + Duration::from_millis(self.config.wait_ms);
        while people < self.config.group_max {
            match timeout_at(deadline, self.queued.recv()).await {
                Ok(Some(heartbeat)) => {
                    people += heartbeat.signs.len();
                    group.push(heartbeat);
                }
                Ok(None) | Err(_) => break,
            }
        }
        Some(group)
    }
}

async fn store(statuses: Statuses, nats: Option<async_nats::Client>, group: Vec<Heartbeat>) {
    let signs = group.iter().flat_map(|heartbeat| heartbeat.signs.clone());
    match statuses.revive(signs.collect()).await {
        Ok(revival) => {
            answer_all(group, &revival);
            if let Some(nats) = &nats {
                broadcast(nats, &revival.alive).await;
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

fn answer_all(group: Vec<Heartbeat>, revival: &Revival) {
    let alive = revival.alive.iter().map(|alive| alive.user_id);
    let known: HashSet<i64> = alive.chain(revival.overtaken.iter().copied()).collect();
    for Heartbeat { signs, answer } in group {
        let user_ids = signs.into_iter().map(|sign| sign.user_id);
        let unknown = user_ids.filter(|user_id| !known.contains(user_id));
        // Who has stopped waiting needs no answer.
        let _ = answer.send(Ok(unknown.collect()));
    }
}

fn fail_all(group: Vec<Heartbeat>, error: PresenceError) {
    let shared = Arc::new(Error::from(error));
    for Heartbeat { answer, .. } in group {
        let _ = answer.send(Err(shared.clone()));
    }
}
