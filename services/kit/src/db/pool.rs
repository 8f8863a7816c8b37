//! The pool of a service's connections: cancellation cannot leave one inside a transaction, and a
//! database that returns is connected to in the background.
//!
//! A request's future may be dropped at any `await`: its deadline passes, or its client goes away. A
//! connection that was dropped in between is therefore settled before anybody else gets it: its
//! transaction is rolled back and its outstanding answers are read, in a task of its own. A connection
//! that cannot be settled in time is closed. sqlx's own pool does not do this for a `BEGIN` that was sent
//! and not yet answered: the next user's statements then run inside a transaction that is never committed.
//!
//! Connections are opened by tasks of the pool and not by the requests that wait for one, a few at a
//! time and each with its own timeout. Attempts that ended at their request's deadline, all at once,
//! would keep a slow database busy with logins of which none is ever finished.

use std::time::Duration;

use bb8::{QueueStrategy, RunError};
use futures::future::BoxFuture;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::connection::PgConnection;
use super::is_temporary;
use super::session::{
    ConnectErrorLog, DatabaseSessionManager, PooledDatabaseSession, without_sign_of_life,
};
use super::transaction::{DatabaseTransaction, ReadConnection};
use crate::deadlines::{POSTGRES_BEGIN, POSTGRES_PING, PeerKind};

/// The longest wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A quarter of the connections is opened before the first request needs them.
const WARM_CONNECTIONS_DIVISOR: u32 = 4;
/// The server closes the connection of a client that has vanished, and gives up its locks, within
/// twice these: a replica whose node is lost would otherwise hold its leases for two hours.
const KEEPALIVE_ON_SERVER: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// The connections of a service to its database; cheap to clone.
#[derive(Clone, Debug)]
pub struct DatabasePool {
    pool: bb8::Pool<DatabaseSessionManager>,
    /// How sessions that last are opened.
    session_options: PgConnectOptions,
}

/// How many connections a pool has.
#[derive(Clone, Copy, Debug)]
pub struct PoolConnectionCounts {
    /// Connections that wait for a request.
    pub idle: u32,
    /// Connections that a request holds.
    pub used: u32,
}

impl DatabasePool {
    /// A pool that opens its first connections in the background and never fails here: a service starts
    /// without its database, and becomes ready when the database comes.
    pub fn connect_lazily(connect_options: PgConnectOptions, connections_max: u32) -> Self {
        Self::connect_lazily_to(PeerKind::Postgres, connect_options, connections_max)
    }

    /// As [`DatabasePool::connect_lazily`], for a kind of server.
    pub(super) fn connect_lazily_to(
        peer: PeerKind,
        connect_options: PgConnectOptions,
        connections_max: u32,
    ) -> Self {
        let connect_options = complete_options(connect_options);
        let manager = DatabaseSessionManager::new(peer, connect_options.clone());
        let pool = bb8::Pool::builder()
            .max_size(connections_max)
            .min_idle(connections_max / WARM_CONNECTIONS_DIVISOR)
            .connection_timeout(ACQUIRE_TIMEOUT)
            // The connection used last is the likeliest to be alive, without a ping.
            .queue_strategy(QueueStrategy::Lifo)
            .error_sink(Box::new(ConnectErrorLog::default()))
            .build_unchecked(manager);
        Self {
            pool,
            session_options: connect_options,
        }
    }

    /// Returns the pool with another address for sessions that last. A pooler that gives each transaction another
    /// session would give the locks of such a session to others.
    #[must_use]
    pub fn with_sessions(mut self, connect_options: PgConnectOptions) -> Self {
        self.session_options = complete_options(connect_options);
        self
    }

    /// A connection for reading. Postgres refuses writes on it: they belong into a transaction
    /// ([`DatabasePool::begin`]), where a cancellation undoes all of them or none.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`] when none is free, or the database away, for two seconds.
    pub async fn acquire(&self) -> sqlx::Result<ReadConnection> {
        Ok(ReadConnection::new(self.check_out().await?))
    }

    /// Reads what a loop polls, which costs one round trip also on a connection that nobody has used for a while: the
    /// statement is its sign of life. If it fails, another connection, which is asked for one, repeats the read.
    ///
    /// # Errors
    /// As [`DatabasePool::acquire`]; or whatever the read fails with.
    pub async fn poll<T>(
        &self,
        read: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let session = without_sign_of_life(self.check_out()).await?;
        let is_trusted = session.is_trusted();
        let mut connection = ReadConnection::new(session);
        if !is_trusted {
            connection.set_statement_timeout(POSTGRES_PING);
        }
        match read(&mut connection).await {
            Err(error) if !is_trusted && is_temporary(&error) => {}
            answered => return answered,
        }
        drop(connection);
        read(&mut *self.acquire().await?).await
    }

    /// Begins a transaction. It is rolled back unless [`DatabaseTransaction::commit`] is called.
    ///
    /// `BEGIN` is the sign of life of a connection that nobody has used for a while. If it fails, nothing has happened,
    /// and another connection, which is asked for one, takes its place.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`] when no connection is free, or the database away, for two
    /// seconds; or whatever `BEGIN` fails with.
    pub async fn begin(&self) -> sqlx::Result<DatabaseTransaction> {
        let session = without_sign_of_life(self.check_out()).await?;
        if session.is_trusted() {
            return DatabaseTransaction::begin(session, POSTGRES_BEGIN).await;
        }
        match DatabaseTransaction::begin(session, POSTGRES_PING).await {
            Err(error) if is_temporary(&error) => {}
            begun => return begun,
        }
        DatabaseTransaction::begin(self.check_out().await?, POSTGRES_BEGIN).await
    }

    /// A connection outside of the pool, for a session that lasts: an advisory lock is given up when
    /// it ends, however it ends. It only reads, too.
    ///
    /// # Errors
    /// Whatever the login fails with, its deadline included.
    pub async fn open_session(&self) -> sqlx::Result<PgConnection> {
        PgConnection::open(&self.session_options).await
    }

    /// How many connections there are.
    pub fn state(&self) -> PoolConnectionCounts {
        let state = self.pool.state();
        PoolConnectionCounts {
            idle: state.idle_connections,
            used: state.connections.saturating_sub(state.idle_connections),
        }
    }

    async fn check_out(&self) -> sqlx::Result<PooledDatabaseSession> {
        let mut session = self.pool.get_owned().await.map_err(|error| match error {
            RunError::User(error) => error,
            RunError::TimedOut => sqlx::Error::PoolTimedOut,
        })?;
        session.mark_used();
        Ok(session)
    }
}

/// Adds the options that every session of a service has.
fn complete_options(connect_options: PgConnectOptions) -> PgConnectOptions {
    // Postgres itself refuses what is written outside of a transaction.
    connect_options
        .options([("default_transaction_read_only", "on")])
        .options(KEEPALIVE_ON_SERVER)
        .disable_statement_logging()
}
