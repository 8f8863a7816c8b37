//! A connection to Postgres on which every statement ends by a deadline.
//!
//! sqlx opens its sockets itself, so neither TCP keepalive nor `TCP_USER_TIMEOUT` can be set on them, and
//! `statement_timeout` of the server does not help against a server that is frozen or out of reach. Therefore
//! the client stops waiting by itself. A connection that has missed a deadline answers nothing any more: an
//! answer that arrives late would be taken for that of the next statement.

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{self, BoxStream, StreamExt};
use sqlx::postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    ConnectOptions as _, Connection as _, Describe, Either, Execute, Executor, Postgres, SqlStr,
};

use crate::deadlines::{self, PeerKind, await_answer};

/// A connection to Postgres, to be used as that of sqlx.
#[derive(Debug)]
pub struct PgConnection {
    inner: sqlx::PgConnection,
    pending: PendingStatementAnswer,
    statement_timeout: Duration,
}

/// Knowledge about the answer to the last statement.
#[derive(Debug)]
struct PendingStatementAnswer {
    /// The kind of server, by which missed deadlines are counted.
    peer: PeerKind,
    /// When the statement was sent whose answer is not read to its end.
    asked_at: Option<Instant>,
    /// Whether a deadline has passed; the connection is of no more use.
    is_missed: bool,
}

impl PendingStatementAnswer {
    fn of(peer: PeerKind) -> Self {
        Self {
            peer,
            asked_at: None,
            is_missed: false,
        }
    }

    fn begin(&mut self) -> sqlx::Result<()> {
        if self.is_missed {
            return Err(broken_connection());
        }
        self.asked_at = Some(Instant::now());
        Ok(())
    }

    fn finish(&mut self) {
        self.asked_at = None;
    }

    fn miss(&mut self, bound: Duration) -> sqlx::Error {
        self.is_missed = true;
        sqlx::Error::Io(deadlines::record_missed(self.peer, bound).into())
    }

    /// Waits for an answer until `deadline`, which is `bound` after the statement was sent.
    async fn wait<T>(
        &mut self,
        deadline: tokio::time::Instant,
        bound: Duration,
        answer: impl Future<Output = T>,
    ) -> sqlx::Result<T> {
        let answered = tokio::time::timeout_at(deadline, answer).await;
        answered.map_err(|_elapsed| self.miss(bound))
    }
}

impl PgConnection {
    /// Opens a connection and logs in.
    ///
    /// # Errors
    /// The server refuses the login, or does not complete it within [`deadlines::POSTGRES_CONNECT`].
    pub async fn open(options: &PgConnectOptions) -> sqlx::Result<Self> {
        Self::open_at(PeerKind::Postgres, options).await
    }

    /// As [`PgConnection::open`], for a kind of server.
    pub(super) async fn open_at(peer: PeerKind, options: &PgConnectOptions) -> sqlx::Result<Self> {
        let opening = await_answer(peer, deadlines::POSTGRES_CONNECT, options.connect());
        let inner = opening
            .await
            .map_err(|missed| sqlx::Error::Io(missed.into()))??;
        Ok(Self {
            inner,
            pending: PendingStatementAnswer::of(peer),
            statement_timeout: deadlines::POSTGRES_STATEMENT,
        })
    }

    /// Sets how long the statements of this connection may take.
    pub(crate) fn set_statement_timeout(&mut self, timeout: Duration) {
        self.statement_timeout = timeout;
    }

    /// Returns whether the server has missed a deadline on this connection.
    pub(super) fn has_missed_deadline(&self) -> bool {
        self.pending.is_missed
    }

    /// Returns whether every answer has been read to its end, so that nothing is left to be done before the next
    /// statement.
    pub(super) fn has_read_answers(&self) -> bool {
        self.pending.asked_at.is_none()
    }

    /// Returns how long an answer is still waited for that nobody has read to its end.
    pub(super) fn time_to_settle(&self) -> Duration {
        let waited = self.pending.asked_at.map(|asked_at| asked_at.elapsed());
        self.statement_timeout
            .saturating_sub(waited.unwrap_or_default())
    }

    /// Executes a command that takes no parameters within a bound of its own.
    pub(super) async fn command(
        &mut self,
        command: &'static str,
        bound: Duration,
    ) -> sqlx::Result<()> {
        self.pending.begin()?;
        let answer = sqlx::raw_sql(command).execute(&mut self.inner);
        let deadline = tokio::time::Instant::now() + bound;
        self.pending.wait(deadline, bound, answer).await??;
        self.pending.finish();
        Ok(())
    }

    /// Reads outstanding answers and pings the server.
    pub(super) async fn ping(&mut self, bound: Duration) -> sqlx::Result<()> {
        self.pending.begin()?;
        let deadline = tokio::time::Instant::now() + bound;
        let answer = self.inner.ping();
        self.pending.wait(deadline, bound, answer).await??;
        self.pending.finish();
        Ok(())
    }

    /// Ends the session, so that the server releases its locks at once.
    ///
    /// # Errors
    /// The connection is broken; the server gives them up when it notices.
    pub async fn close(mut self) -> sqlx::Result<()> {
        self.pending.begin()?;
        let bound = deadlines::POSTGRES_END;
        let deadline = tokio::time::Instant::now() + bound;
        self.pending
            .wait(deadline, bound, self.inner.close())
            .await?
    }

    /// Returns the connection of sqlx, for a migration.
    pub(super) fn inner_mut(&mut self) -> &mut sqlx::PgConnection {
        &mut self.inner
    }
}

fn broken_connection() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::NotConnected,
        "an earlier statement of this connection was not answered in time",
    ))
}

type RowOrResult = Either<PgQueryResult, PgRow>;

impl<'c> Executor<'c> for &'c mut PgConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<RowOrResult>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if let Err(error) = self.pending.begin() {
            return stream::once(ready(Err(error))).boxed();
        }
        let bound = self.statement_timeout;
        let deadline = tokio::time::Instant::now() + bound;
        let rows = self.inner.fetch_many(query);
        let reading = Some((rows, &mut self.pending));
        stream::unfold(reading, move |reading| async move {
            let (mut rows, pending) = reading?;
            match pending.wait(deadline, bound, rows.next()).await {
                Ok(Some(row)) => Some((row, Some((rows, pending)))),
                Ok(None) => {
                    pending.finish();
                    None
                }
                Err(missed) => Some((Err(missed), None)),
            }
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if let Err(error) = self.pending.begin() {
            return ready(Err(error)).boxed();
        }
        let row = self.inner.fetch_optional(query);
        await_statement(&mut self.pending, self.statement_timeout, row).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        if let Err(error) = self.pending.begin() {
            return ready(Err(error)).boxed();
        }
        let statement = self.inner.prepare_with(sql, parameters);
        await_statement(&mut self.pending, self.statement_timeout, statement).boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        if let Err(error) = self.pending.begin() {
            return ready(Err(error)).boxed();
        }
        let description = self.inner.describe(sql);
        await_statement(&mut self.pending, self.statement_timeout, description).boxed()
    }
}

async fn await_statement<T>(
    pending: &mut PendingStatementAnswer,
    bound: Duration,
    answer: BoxFuture<'_, sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let deadline = tokio::time::Instant::now() + bound;
    let answer = pending.wait(deadline, bound, answer).await??;
    pending.finish();
    Ok(answer)
}
