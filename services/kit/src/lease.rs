//! Work that one replica does at a time.

use crate::db::Database;
use sqlx::{Connection, PgConnection};

use crate::error::Error;

/// The right to do a piece of work while nobody else does. It is an advisory lock of a database
/// session of its own: a replica that dies loses it with its connection.
pub struct Lease {
    connection: PgConnection,
}

impl Lease {
    /// Takes the lease `name`, such as `presence.sweep`; none while somebody else has it.
    pub async fn try_take(db: &Database, name: &str) -> Result<Option<Self>, Error> {
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

    /// The session that holds the lease: what it reads ends with the lease.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Gives it back at once; a lease that is dropped goes when the server notices.
    pub async fn release(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }
}
