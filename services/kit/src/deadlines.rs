//! The deadline of every wait on another process, in one place.
//!
//! A process that is gone closes its sockets, and its callers learn it at once. One that is frozen, or whose
//! packets are dropped, does neither: without a deadline its callers wait until TCP gives up after a quarter of
//! an hour. So each wait ends by one of these bounds, the connection that it used is discarded, and
//! `missed_deadlines_total` counts it by peer. `docs/architecture/operations.md` has the table of
//! all bounds.

use std::fmt;
use std::time::Duration;

/// Opening a TCP connection and logging in at Postgres. Logging in takes a busy server seconds, so a shorter
/// bound would waste what it has done.
pub const POSTGRES_CONNECT: Duration = Duration::from_secs(5);
/// The sign of life of a connection that was unused: a ping, or the `BEGIN` or the poll in its place.
pub const POSTGRES_PING: Duration = Duration::from_millis(500);
/// `BEGIN`, which has nothing to wait for.
pub const POSTGRES_BEGIN: Duration = Duration::from_secs(2);
/// `COMMIT` and `ROLLBACK`, which wait for disks and standbys and for no other transaction.
pub const POSTGRES_END: Duration = Duration::from_secs(5);
/// Postgres itself ends a statement after this time.
pub const POSTGRES_STATEMENT_ON_SERVER: Duration = Duration::from_secs(5);
/// Any other statement. It exceeds [`POSTGRES_STATEMENT_ON_SERVER`], so that only a silent server reaches it.
pub const POSTGRES_STATEMENT: Duration = Duration::from_secs(6);
/// A read of a standby, from the wait for a connection to the last row. Most of a request's time is left for the primary
/// then.
pub const POSTGRES_STANDBY_READ: Duration = Duration::from_secs(1);
/// Statements that read whole tables, on the server and here.
pub const POSTGRES_FULL_SCAN: Duration = Duration::from_hours(1);
/// Statements of a migration, which may build an index of a large table.
pub const POSTGRES_MIGRATION: Duration = Duration::from_hours(6);

/// Opening a connection to Redis.
pub const REDIS_CONNECT: Duration = Duration::from_secs(1);
/// A command of Redis.
pub const REDIS_COMMAND: Duration = Duration::from_millis(500);
/// A connection to Redis is closed after so long without an answer to a command that asks for a sign of life.
pub const REDIS_SILENCE: Duration = Duration::from_secs(2);

/// Opening a connection to NATS.
pub const NATS_CONNECT: Duration = Duration::from_secs(2);
/// A request to JetStream, and the acknowledgement of a published event.
pub const NATS_REQUEST: Duration = Duration::from_secs(2);
/// The interval of pings to NATS on a connection that brings nothing. The client closes it with the third one that is due
/// while two are unanswered, so a silent server is left within four seconds.
pub const NATS_PING: Duration = Duration::from_millis(1_300);

/// Looking up the addresses of another service; the last known ones are used meanwhile.
pub const NAME_LOOKUP: Duration = Duration::from_secs(2);
/// Opening a connection to another service.
pub const RPC_CONNECT: Duration = Duration::from_secs(1);
/// The TLS handshake of a connection from another service.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(3);
/// A call to another service outside of a request; inside of one it ends with the request.
pub const RPC_CALL: Duration = Duration::from_secs(2);
/// The first keys of auth, for a request with an access token that arrives before them.
pub const SIGNING_KEYS: Duration = Duration::from_secs(2);
/// The interval of HTTP/2 pings to another service while a call waits for its answer.
pub const RPC_PING: Duration = Duration::from_secs(2);
/// A connection on which a ping is unanswered for so long is closed.
pub const RPC_PING_ANSWER: Duration = Duration::from_secs(3);

/// Logging in at the console of a media relay.
pub const RELAY_CONNECT: Duration = Duration::from_secs(2);
/// A command at the console of a media relay.
pub const RELAY_COMMAND: Duration = Duration::from_secs(1);
/// A list of all sessions of a media relay, which it writes while it relays.
pub const RELAY_LISTING: Duration = Duration::from_secs(10);

/// A batch of tasks as a whole, whatever it waits for.
pub const BATCH: Duration = Duration::from_secs(10);

/// A kind of process that this one waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerKind {
    /// PostgreSQL.
    Postgres,
    /// A standby of PostgreSQL.
    PostgresStandby,
    /// Redis.
    Redis,
    /// NATS with JetStream.
    Nats,
    /// The store of objects.
    ObjectStore,
    /// The console of a media relay.
    Relay,
}

impl PeerKind {
    /// Every kind of peer.
    pub const ALL: [Self; 6] = [
        Self::Postgres,
        Self::PostgresStandby,
        Self::Redis,
        Self::Nats,
        Self::ObjectStore,
        Self::Relay,
    ];

    /// Returns the value of the label `peer`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::PostgresStandby => "postgres_standby",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::ObjectStore => "object_store",
            Self::Relay => "relay",
        }
    }
}

/// A peer has not answered by the deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} did not answer within {bound:?}", peer.label())]
pub struct MissedPeerDeadline {
    peer: PeerKind,
    bound: Duration,
}

impl From<MissedPeerDeadline> for std::io::Error {
    fn from(missed: MissedPeerDeadline) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, missed)
    }
}

/// Waits for an answer of a peer, but not beyond the bound.
///
/// # Errors
/// There was no answer in time.
pub async fn await_answer<F: Future>(
    peer: PeerKind,
    bound: Duration,
    answer: F,
) -> Result<F::Output, MissedPeerDeadline> {
    tokio::time::timeout(bound, answer)
        .await
        .map_err(|_elapsed| record_missed(peer, bound))
}

/// Counts a deadline that a peer has missed and returns it as an error.
pub fn record_missed(peer: PeerKind, bound: Duration) -> MissedPeerDeadline {
    count_missed(peer.label());
    MissedPeerDeadline { peer, bound }
}

/// Counts a deadline that a peer has missed.
pub fn count_missed(peer: impl fmt::Display) {
    metrics::counter!("missed_deadlines_total", "peer" => peer.to_string()).increment(1);
}

/// Registers the counters at zero, so that the first missed deadline is visible as an increase.
pub(crate) fn register_metrics() {
    for peer in PeerKind::ALL {
        metrics::counter!("missed_deadlines_total", "peer" => peer.label()).increment(0);
    }
}
