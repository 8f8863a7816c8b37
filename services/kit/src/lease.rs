//! Leases, for work that one replica does at a time.

use crate::db::{DatabasePool, PgConnection};

use crate::error::Error;

/// The exclusive right to do a piece of work. It is an advisory lock in a database session of its own, so
/// that a replica that dies loses it with its connection.
pub struct Lease {
    connection: PgConnection,
}

impl Lease {
    /// Takes the lease `name`, such as `presence.sweep`; returns `None` while another replica holds it.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn try_take(db: &DatabasePool, name: &str) -> Result<Option<Self>, Error> {
        let mut connection = db.open_session().await?;
        let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext($1))")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
        let lease = Self { connection };
        if is_ours {
            return Ok(Some(lease));
        }
        lease.release().await?;
        Ok(None)
    }

    /// Returns the session that holds the lease. Its reads fail once the lease is lost.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Releases the lease at once. A lease that is dropped ends when the server notices it.
    ///
    /// # Errors
    /// The connection broke; the server releases the lease when it notices.
    pub async fn release(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }
}
