//! The connections that a pool keeps: how they are opened, and which of them the next request may have.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb8::{ErrorSink, ManageConnection, PooledConnection};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Semaphore;

use super::connection::PgConnection;
use crate::deadlines::{POSTGRES_PING, PeerKind};

/// Logins at once: each costs the server a process and thousands of hashes.
const CONNECTING_MAX: usize = 4;
/// A connection used so recently is taken to be alive.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// At most one failed login in this time is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// Set while a connection is taken whose first statement is the sign of life, because the pool passes no other
    /// argument to its check.
    static FIRST_STATEMENT_PROVES_LIFE: ();
}

/// Takes a connection without asking for a sign of life, which the caller's first statement has to be.
pub(super) async fn without_sign_of_life<T>(taking: impl Future<Output = T>) -> T {
    FIRST_STATEMENT_PROVES_LIFE.scope((), taking).await
}

/// A session that returns to the pool when it is dropped, if it is settled.
pub(super) type PooledDatabaseSession = PooledConnection<'static, DatabaseSessionManager>;

/// A connection, and whether another request may have it.
#[derive(Debug)]
pub(super) struct DatabaseSession {
    pub(super) connection: PgConnection,
    /// Outside of any transaction, with every answer read. A session that is dropped otherwise is closed.
    is_settled: bool,
    settled_at: Instant,
}

impl DatabaseSession {
    /// Returns whether the connection was used so recently that it is taken to be alive.
    pub(super) fn is_trusted(&self) -> bool {
        self.settled_at.elapsed() <= TRUSTED_IDLE
    }

    /// Marks the session as in use: dropped like this, it is closed.
    pub(super) fn mark_used(&mut self) {
        self.is_settled = false;
    }

    /// Marks the session as fit for the next request.
    pub(super) fn mark_settled(&mut self) {
        self.is_settled = true;
        self.settled_at = Instant::now();
    }
}

/// Opens and judges the pool's connections.
#[derive(Debug)]
pub(super) struct DatabaseSessionManager {
    peer: PeerKind,
    connect_options: PgConnectOptions,
    connecting: Semaphore,
}

impl DatabaseSessionManager {
    pub(super) fn new(peer: PeerKind, connect_options: PgConnectOptions) -> Self {
        Self {
            peer,
            connect_options,
            connecting: Semaphore::new(CONNECTING_MAX),
        }
    }
}

impl ManageConnection for DatabaseSessionManager {
    type Connection = DatabaseSession;
    type Error = sqlx::Error;

    async fn connect(&self) -> sqlx::Result<DatabaseSession> {
        let permit = self.connecting.acquire().await;
        let _permit = permit.map_err(|_closed| sqlx::Error::PoolClosed)?;
        Ok(DatabaseSession {
            connection: PgConnection::open_at(self.peer, &self.connect_options).await?,
            is_settled: true,
            settled_at: Instant::now(),
        })
    }

    async fn is_valid(&self, session: &mut DatabaseSession) -> sqlx::Result<()> {
        if session.is_trusted() || FIRST_STATEMENT_PROVES_LIFE.try_with(|()| ()).is_ok() {
            return Ok(());
        }
        session.is_settled = false;
        session.connection.ping(POSTGRES_PING).await?;
        session.mark_settled();
        Ok(())
    }

    fn has_broken(&self, session: &mut DatabaseSession) -> bool {
        !session.is_settled
    }
}

/// Logs why connections cannot be opened: requests only learn that there is none.
#[derive(Debug, Default)]
pub(super) struct ConnectErrorLog {
    logged_at: Mutex<Option<Instant>>,
}

impl ConnectErrorLog {
    /// Whether to log an error now; if so, no other one is due for [`LOG_INTERVAL`].
    fn claim_log_line(&self) -> bool {
        let mut logged_at = self
            .logged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if is_due {
            *logged_at = Some(Instant::now());
        }
        is_due
    }
}

impl ErrorSink<sqlx::Error> for ConnectErrorLog {
    fn sink(&self, error: sqlx::Error) {
        if self.claim_log_line() {
            tracing::warn!(%error, "failed to open or keep a database connection; the pool opens another");
        }
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<sqlx::Error>> {
        Box::new(Self::default())
    }
}
