//! Signs of life on their way to presence, many in one request: what comes while the others are under
//! way goes with the next. `POST /users/me/heartbeat` waits for the answer; pings on sockets do not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Clock, Error, Kind};
use talktime_proto::presence::v1::HeartbeatManyRequest;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::app::Presence;
use crate::token::Caller;

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
    clock: Clock,
}

/// A sign of life with the session that gave it and the time: presence does not count one that it gets
/// after the end of its session, or after its user went offline.
struct Heartbeat {
    user_id: i64,
    session_id: String,
    accepted_at_micros: i64,
    answer: Option<oneshot::Sender<Answer>>,
}

/// Whether the person is known; or why the whole group failed.
type Answer = Result<bool, Arc<Error>>;

impl Heartbeats {
    /// The place to hand them in, and the task that carries them to `presence` until told to stop.
    pub fn new(
        presence: Presence,
        clock: Clock,
        stopping: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, queued) = mpsc::channel(QUEUED_MAX);
        (Self { queue, clock }, carry(presence, queued, stopping))
    }

    /// A sign of life; answers when it is stored.
    pub async fn beat(&self, caller: &Caller) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let heartbeat = self.heartbeat_of(caller, Some(answer));
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
    pub fn note(&self, caller: &Caller) {
        let _ = self.queue.try_send(self.heartbeat_of(caller, None));
    }

    fn heartbeat_of(&self, caller: &Caller, answer: Option<oneshot::Sender<Answer>>) -> Heartbeat {
        Heartbeat {
            user_id: caller.user_id,
            session_id: caller.session_id.clone(),
            accepted_at_micros: self.clock.now().timestamp_micros(),
            answer,
        }
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
    let request = request_of(&group);
    let stored = retry_idempotent(|| {
        let mut presence = presence.clone();
        let request = request.clone();
        async move { presence.heartbeat_many(request).await }
    })
    .await;
    let unknown = stored
        .map(|stored| HashSet::<i64>::from_iter(stored.unknown_user_ids))
        .map_err(Arc::new);
    for Heartbeat {
        user_id, answer, ..
    } in group
    {
        let known = unknown.as_ref().map(|unknown| !unknown.contains(&user_id));
        if let Some(answer) = answer {
            // Who has stopped waiting needs no answer.
            let _ = answer.send(known.map_err(Arc::clone));
        }
    }
}

/// The latest sign of life of each session.
fn request_of(group: &[Heartbeat]) -> HeartbeatManyRequest {
    let mut latest: HashMap<(i64, &str), i64> = HashMap::with_capacity(group.len());
    for heartbeat in group {
        let key = (heartbeat.user_id, heartbeat.session_id.as_str());
        let accepted_at = latest.entry(key).or_insert(heartbeat.accepted_at_micros);
        *accepted_at = heartbeat.accepted_at_micros.max(*accepted_at);
    }
    let mut request = HeartbeatManyRequest::default();
    for ((user_id, session_id), accepted_at_micros) in latest {
        request.user_ids.push(user_id);
        request.session_ids.push(session_id.to_owned());
        request.accepted_at_micros.push(accepted_at_micros);
    }
    request
}
