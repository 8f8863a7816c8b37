//! Connections and transactions on loan from the pool. Both may be dropped at any moment.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::connection::PgConnection;
use super::session::PooledDatabaseSession;
use crate::deadlines::{POSTGRES_END, POSTGRES_STATEMENT};

const IN_USE: &str = "the session is taken only when the loan ends";

/// A connection for reading; it returns to the pool when it is dropped.
#[derive(Debug)]
pub struct ReadConnection {
    session: Option<PooledDatabaseSession>,
}

/// A transaction; it is rolled back when it is dropped before [`DatabaseTransaction::commit`] has returned.
///
/// `BEGIN` and `COMMIT` are sent as statements and not through sqlx's transactions, which forget a
/// `BEGIN` whose answer nobody waited for. Do not begin an sqlx transaction inside of this one.
#[derive(Debug)]
pub struct DatabaseTransaction {
    session: Option<PooledDatabaseSession>,
    began_at: Instant,
}

impl ReadConnection {
    pub(super) fn new(session: PooledDatabaseSession) -> Self {
        Self {
            session: Some(session),
        }
    }
}

impl DatabaseTransaction {
    /// The transaction exists before `BEGIN` is sent, so that a drop at any later moment ends it.
    pub(super) async fn begin(
        session: PooledDatabaseSession,
        bound: Duration,
    ) -> sqlx::Result<Self> {
        let mut transaction = Self {
            session: Some(session),
            began_at: Instant::now(),
        };
        transaction.command("BEGIN READ WRITE", bound).await?;
        Ok(transaction)
    }

    /// Makes the transaction durable and returns its connection to the pool.
    ///
    /// # Errors
    /// After any error, the time limit of five seconds included, the outcome is unknown: the server may
    /// have committed before its answer was lost.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        let commits_at = Instant::now();
        self.command("COMMIT", POSTGRES_END).await?;
        metrics::histogram!("db_commit_duration_seconds").record(commits_at.elapsed());
        metrics::histogram!("db_transaction_duration_seconds").record(self.began_at.elapsed());
        self.settle();
        Ok(())
    }

    /// Ends the transaction without effect and returns its connection to the pool.
    ///
    /// # Errors
    /// The server does not answer; it rolls back when it notices that the connection is closed.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        self.command("ROLLBACK", POSTGRES_END).await?;
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.connection.set_statement_timeout(POSTGRES_STATEMENT);
            session.mark_settled();
        }
    }
}

impl Drop for ReadConnection {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        if session.connection.has_read_answers() {
            session.connection.set_statement_timeout(POSTGRES_STATEMENT);
            session.mark_settled();
        } else {
            // The answer to a statement whose future was dropped is still to be read.
            settle_in_background(session, SessionCleanupStep::ReadAnswers);
        }
    }
}

impl Drop for DatabaseTransaction {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            settle_in_background(session, SessionCleanupStep::RollBack);
        }
    }
}

/// The step that makes a session fit for the next request.
#[derive(Clone, Copy)]
enum SessionCleanupStep {
    ReadAnswers,
    RollBack,
}

impl SessionCleanupStep {
    async fn run(self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let bound = connection.time_to_settle();
        connection.set_statement_timeout(POSTGRES_STATEMENT);
        match self {
            Self::ReadAnswers => connection.ping(bound).await,
            Self::RollBack => connection.command("ROLLBACK", bound).await,
        }
    }
}

/// Returns a session to the pool once it is settled. One that has missed a deadline is closed at once, and
/// one that cannot be settled in time, then. The size of the pool bounds the number of these tasks.
fn settle_in_background(mut session: PooledDatabaseSession, settlement: SessionCleanupStep) {
    if session.connection.has_missed_deadline() {
        return;
    }
    // Without a runtime the process is ending, and the session is closed by being dropped.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        match settlement.run(&mut session.connection).await {
            Ok(()) => session.mark_settled(),
            Err(error) => {
                tracing::debug!(%error, "failed to settle a database connection; it is closed");
            }
        }
    });
}

impl Deref for ReadConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.session.as_ref().expect(IN_USE).connection
    }
}

impl DerefMut for ReadConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.session.as_mut().expect(IN_USE).connection
    }
}

impl Deref for DatabaseTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.session.as_ref().expect(IN_USE).connection
    }
}

impl DerefMut for DatabaseTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.session.as_mut().expect(IN_USE).connection
    }
}
