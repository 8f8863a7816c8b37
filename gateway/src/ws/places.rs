//! How many sockets a user has, over all replicas (contract: 5).
//!
//! Places are kept in Redis. A place names its replica, and a replica says again and again that it
//! lives: when it dies, its places are free seconds later, whatever it left behind. While Redis is away,
//! sockets come in uncounted: the limit keeps one user from taking too much, not strangers out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use talktime_kit::Error;
use talktime_kit::redis::commands::{Expiration, KeysInterface, SetOptions, SortedSetsInterface};
use talktime_kit::redis::{Pool, Script};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::token::Caller;

/// Sockets of one user.
const PLACES: usize = 5;
/// How long a replica counts as alive after its last word, and how often it gives it.
const REPLICA_ALIVE_MS: i64 = 10_000;
const ALIVE_EVERY: Duration = Duration::from_secs(3);

static TAKE: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/places_take.lua")));

/// Sockets that came in uncounted, in the metrics.
const UNCOUNTED: &str = "ws_connections_uncounted_total";

/// The places of this replica's sockets; cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Inner>);

struct Inner {
    redis: Pool,
    replica: String,
    next_socket: AtomicU64,
    /// Whose socket each is, and when its token expires (seconds since 1970), to say so again to a Redis
    /// that has lost it.
    taken: Mutex<HashMap<u64, (i64, u32)>>,
}

/// A place that is taken until it is given back.
pub(super) struct Place {
    user_id: i64,
    socket: u64,
}

impl Places {
    /// Places of a replica that has just started, in this Redis.
    pub fn new(redis: Pool) -> Self {
        // From zero on, so that the first is seen to be one more.
        metrics::counter!(UNCOUNTED).increment(0);
        Self(Arc::new(Inner {
            redis,
            replica: Uuid::now_v7().simple().to_string(),
            next_socket: AtomicU64::new(0),
            taken: Mutex::default(),
        }))
    }

    /// A place for a socket of this caller; none when all of theirs are taken.
    pub(super) async fn take(&self, caller: &Caller) -> Option<Place> {
        let socket = self.0.next_socket.fetch_add(1, Ordering::Relaxed);
        let user_id = caller.user_id;
        let expires_at = u32::try_from(caller.expires_at.timestamp()).unwrap_or(u32::MAX);
        self.taken().insert(socket, (user_id, expires_at));
        let is_ours = match self.ask(user_id, socket, expires_at).await {
            Ok(is_ours) => is_ours,
            Err(error) => {
                metrics::counter!(UNCOUNTED).increment(1);
                tracing::warn!(%error, "a socket comes in uncounted");
                true
            }
        };
        if is_ours {
            return Some(Place { user_id, socket });
        }
        self.taken().remove(&socket);
        None
    }

    async fn ask(&self, user_id: i64, socket: u64, expires_at: u32) -> Result<bool, Error> {
        let arguments = vec![
            self.0.replica.clone(),
            socket.to_string(),
            expires_at.to_string(),
            PLACES.to_string(),
            REPLICA_ALIVE_MS.to_string(),
        ];
        let redis = self.0.redis.next();
        let answer: i64 = TAKE
            .evalsha_with_reload(redis, vec![key(user_id)], arguments)
            .await?;
        Ok(answer == 1)
    }

    /// Gives a place back.
    pub(super) async fn give_back(&self, place: Place) {
        let Place { user_id, socket } = place;
        self.taken().remove(&socket);
        let member = self.member(socket);
        let removed: Result<i64, _> = self.0.redis.zrem(key(user_id), member).await;
        if let Err(error) = removed {
            // It goes when its token expires.
            tracing::debug!(%error, "a place was not given back");
        }
    }

    /// Says again and again that this replica lives, until told to stop; then gives back all that is
    /// still taken.
    pub async fn keep(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.say_alive().await {
                tracing::debug!(%error, "Redis does not hear that we live");
            }
            tokio::select! {
                () = tokio::time::sleep(ALIVE_EVERY) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn say_alive(&self) -> Result<(), Error> {
        let alive = format!("ws:replica:{}", self.0.replica);
        let expires = Some(Expiration::PX(REPLICA_ALIVE_MS));
        let renewed: Option<String> = self
            .0
            .redis
            .set(&alive, 1, expires.clone(), Some(SetOptions::XX), false)
            .await?;
        if renewed.is_some() {
            return Ok(());
        }
        // Redis has lost it, or we were silent for too long: others may have taken our places away.
        let () = self.0.redis.set(&alive, 1, expires, None, false).await?;
        let taken: Vec<(u64, (i64, u32))> = self
            .taken()
            .iter()
            .map(|(id, whose)| (*id, *whose))
            .collect();
        for (socket, (user_id, expires_at)) in taken {
            let scored = (f64::from(expires_at), self.member(socket));
            let () = self
                .0
                .redis
                .zadd(key(user_id), None, None, false, false, scored)
                .await?;
            let () = self
                .0
                .redis
                .expire_at(key(user_id), expires_at.into(), None)
                .await?;
        }
        Ok(())
    }

    fn member(&self, socket: u64) -> String {
        format!("{}/{socket}", self.0.replica)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, (i64, u32)>> {
        let taken = self.0.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(user_id: i64) -> String {
    format!("ws:places:{user_id}")
}
