//! The number of sockets of a user, over all replicas (contract: 5).
//!
//! Slots are stored in Redis. A slot names its replica, and each replica renews a lease there: when a replica
//! dies, its slots are free seconds later. While Redis is unavailable, sockets are accepted without a slot: the
//! limit protects the platform from one user's sockets, and an outage of Redis must not lock everyone out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Error;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_kit::redis::commands::{Expiration, KeysInterface, SetOptions, SortedSetsInterface};
use talktime_kit::redis::{Pool, Script};
use uuid::Uuid;

use crate::token::CurrentUser;

const SLOTS_OF_USER: usize = 5;
const REPLICA_LEASE_MS: i64 = 10_000;
const RENEW_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("gateway.slots"),
    interval: Duration::from_secs(3),
    retry_after: Duration::from_secs(1),
    // Shorter than the lease, so that a renewal that hangs is tried again before the lease ends.
    deadline: Duration::from_secs(3),
    first_turn: FirstTurnStart::AtOnce,
};

static ACQUIRE_SLOT: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/acquire_slot.lua")));

const UNCOUNTED: &str = "ws_connections_uncounted_total";

/// The connection slots that sockets of this replica use; cheap to clone.
#[derive(Clone)]
pub struct SocketConnectionSlots(Arc<ConnectionSlotsParts>);

struct ConnectionSlotsParts {
    redis: Pool,
    replica: String,
    next_socket: AtomicU64,
    /// The slots in use by socket, so that they can be stored again in a Redis that has lost them.
    used: Mutex<HashMap<u64, ConnectionSlotOwner>>,
}

#[derive(Clone, Copy)]
struct ConnectionSlotOwner {
    user_id: i64,
    /// Expiry of the token, in seconds since 1970.
    expires_at: u32,
}

/// A slot in use, to be released with [`SocketConnectionSlots::release`].
pub(super) struct SocketConnectionSlot {
    user_id: i64,
    socket: u64,
}

impl SocketConnectionSlots {
    /// Creates the slots of a replica that has just started.
    pub fn new(redis: Pool) -> Self {
        // Starts at zero, so that the first increase is visible.
        metrics::counter!(UNCOUNTED).increment(0);
        Self(Arc::new(ConnectionSlotsParts {
            redis,
            replica: Uuid::now_v7().simple().to_string(),
            next_socket: AtomicU64::new(0),
            used: Mutex::default(),
        }))
    }

    /// Acquires a slot for a socket of this user. Returns `None` when all of theirs are in use.
    pub(super) async fn acquire(&self, current_user: &CurrentUser) -> Option<SocketConnectionSlot> {
        let socket = self.0.next_socket.fetch_add(1, Ordering::Relaxed);
        let owner = ConnectionSlotOwner {
            user_id: current_user.user_id,
            expires_at: u32::try_from(current_user.expires_at.timestamp()).unwrap_or(u32::MAX),
        };
        self.used().insert(socket, owner);
        let is_acquired = match self.acquire_in_redis(socket, owner).await {
            Ok(is_acquired) => is_acquired,
            Err(error) => {
                metrics::counter!(UNCOUNTED).increment(1);
                tracing::warn!(
                    user_id = owner.user_id,
                    %error,
                    "failed to count a socket; it is accepted uncounted"
                );
                true
            }
        };
        if is_acquired {
            return Some(SocketConnectionSlot {
                user_id: owner.user_id,
                socket,
            });
        }
        self.used().remove(&socket);
        None
    }

    async fn acquire_in_redis(
        &self,
        socket: u64,
        owner: ConnectionSlotOwner,
    ) -> Result<bool, Error> {
        let arguments = vec![
            self.0.replica.clone(),
            socket.to_string(),
            owner.expires_at.to_string(),
            SLOTS_OF_USER.to_string(),
            REPLICA_LEASE_MS.to_string(),
        ];
        let redis = self.0.redis.next();
        let answer: i64 = ACQUIRE_SLOT
            .evalsha_with_reload(redis, vec![key(owner.user_id)], arguments)
            .await?;
        Ok(answer == 1)
    }

    pub(super) async fn release(&self, slot: SocketConnectionSlot) {
        let SocketConnectionSlot { user_id, socket } = slot;
        self.used().remove(&socket);
        let member = self.member(socket);
        let removed: Result<i64, _> = self.0.redis.zrem(key(user_id), member).await;
        if let Err(error) = removed {
            tracing::debug!(
                user_id,
                %error,
                "failed to release a connection slot; it expires with its token"
            );
        }
    }

    /// Renews the lease of this replica until the process stops.
    pub fn start_renewals(&self, lifecycle: &ProcessLifecycle) {
        let slots = self.clone();
        periodic::start(lifecycle, RENEW_WORK, move || {
            let slots = slots.clone();
            async move {
                let renewed = slots.renew_replica_lease().await;
                renewed.context("failed to renew the lease of this replica")?;
                Ok(NextTurnStart::AfterInterval)
            }
        });
    }

    async fn renew_replica_lease(&self) -> Result<(), Error> {
        let lease = format!("ws:replica:{}", self.0.replica);
        let expires = Some(Expiration::PX(REPLICA_LEASE_MS));
        let redis = &self.0.redis;
        let renewed: Option<String> = redis
            .set(&lease, 1, expires.clone(), Some(SetOptions::XX), false)
            .await?;
        if renewed.is_some() {
            return Ok(());
        }
        // Redis lost the lease, or it expired: other replicas may have released our slots.
        let () = redis.set(&lease, 1, expires, None, false).await?;
        let used: Vec<_> = self
            .used()
            .iter()
            .map(|(id, owner)| (*id, *owner))
            .collect();
        for (socket, owner) in used {
            self.store_slot(socket, owner).await?;
        }
        Ok(())
    }

    async fn store_slot(&self, socket: u64, owner: ConnectionSlotOwner) -> Result<(), Error> {
        let ConnectionSlotOwner {
            user_id,
            expires_at,
        } = owner;
        let redis = &self.0.redis;
        let scored = (f64::from(expires_at), self.member(socket));
        let () = redis
            .zadd(key(user_id), None, None, false, false, scored)
            .await?;
        let () = redis
            .expire_at(key(user_id), expires_at.into(), None)
            .await?;
        Ok(())
    }

    fn member(&self, socket: u64) -> String {
        format!("{}/{socket}", self.0.replica)
    }

    fn used(&self) -> MutexGuard<'_, HashMap<u64, ConnectionSlotOwner>> {
        let used = self.0.used.lock();
        used.unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(user_id: i64) -> String {
    format!("ws:places:{user_id}")
}
