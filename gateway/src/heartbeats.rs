//! Signs of life on their way to presence, many in one request: what comes while the others are under
//! way goes with the next. `POST /users/me/heartbeat` waits for the answer; pings on sockets do not.

use std::collections::HashSet;
use std::sync::Arc;

use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, Kind};
use talktime_proto::presence::v1::HeartbeatManyRequest;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::app::Presence;

/// Signs of life in one request.
const GROUP_MAX: usize = 512;
/// Requests under way at the same time: presence joins them, and one that is slow holds up none.
const UNDER_WAY_MAX: usize = 4;
/// Signs of life that wait; beyond it, requests are told to come back and pings are dropped.
const QUEUED_MAX: usize = 16_384;

/// Where signs of life are handed in; cheap to clone.
#[derive(Clone)]
pub struct Heartbeats {
    queue: mpsc::Sender<Heartbeat>,
}

struct Heartbeat {
    user_id: i64,
    answer: Option<oneshot::Sender<Answer>>,
}

/// Whether the person is known; or why the whole group failed.
type Answer = Result<bool, Arc<Error>>;

impl Heartbeats {
    /// The place to hand them in, and the task that carries them to `presence` until told to stop.
    pub fn new(
        presence: Presence,
        stopping: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, queued) = mpsc::channel(QUEUED_MAX);
        (Self { queue }, carry(presence, queued, stopping))
    }

    /// A sign of life; answers when it is stored.
    pub async fn beat(&self, user_id: i64) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let heartbeat = Heartbeat {
            user_id,
            answer: Some(answer),
        };
        self.queue.try_send(heartbeat).map_err(|_| overloaded())?;
        match answered.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Error::new(
                Kind::NotFound,
                "user_not_found",
                "There is no such user.",
            )),
            Ok(Err(shared)) => Err(Error::of_shared(shared)),
            // The gateway stops.
            Err(_) => Err(overloaded()),
        }
    }

    /// A sign of life that nobody waits for: the next one makes up for one that is lost.
    pub fn note(&self, user_id: i64) {
        let heartbeat = Heartbeat {
            user_id,
            answer: None,
        };
        let _ = self.queue.try_send(heartbeat);
    }
}

fn overloaded() -> Error {
    let detail = "Please try again in a moment.";
    Error::new(Kind::Unavailable, "overloaded", detail)
}

async fn carry(
    presence: Presence,
    mut queued: mpsc::Receiver<Heartbeat>,
    stopping: CancellationToken,
) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    loop {
        let permit = under_way.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let mut group = Vec::new();
        let taken = tokio::select! {
            taken = queued.recv_many(&mut group, GROUP_MAX) => taken,
            () = stopping.cancelled() => 0,
        };
        if taken == 0 {
            return;
        }
        let presence = presence.clone();
        tokio::spawn(async move {
            answer_all(group, &presence).await;
            drop(permit);
        });
    }
}

async fn answer_all(group: Vec<Heartbeat>, presence: &Presence) {
    let ids: HashSet<i64> = group.iter().map(|heartbeat| heartbeat.user_id).collect();
    let user_ids: Vec<i64> = ids.into_iter().collect();
    let stored = retry_idempotent(|| {
        let mut presence = presence.clone();
        let user_ids = user_ids.clone();
        async move {
            presence
                .heartbeat_many(HeartbeatManyRequest { user_ids })
                .await
        }
    })
    .await;
    let unknown = stored
        .map(|stored| stored.unknown_user_ids)
        .map_err(Arc::new);
    for Heartbeat { user_id, answer } in group {
        let known = unknown.as_ref().map(|unknown| !unknown.contains(&user_id));
        if let Some(answer) = answer {
            // Who has stopped waiting needs no answer.
            let _ = answer.send(known.map_err(Arc::clone));
        }
    }
}
