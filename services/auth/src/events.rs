//! Events that auth publishes.

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::batch::{BatchLimits, Batcher};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::{Relay, outbox};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{LoggedOut, TokensRevoked};
use talktime_proto::timestamp;

use crate::domain::TokenRevocation;
use crate::login_batch::LoginBatchHandler;
use crate::store::audit_log::{self, AuditLogEntry};
use crate::store::revocations::{self, TokenRevocationPage};

/// Records logins, logouts and revocations in Postgres: the audit log, and the outbox that publishes events.
#[derive(Clone)]
pub struct SessionEventRecorder {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
    pub(crate) logins: Batcher<LoginBatchHandler>,
}

impl SessionEventRecorder {
    /// Starts a recorder with the outbox of `db`; `relay` is woken when there are events.
    pub fn start(lifecycle: &ProcessLifecycle, db: DatabasePool, relay: Relay) -> Self {
        let handler = LoginBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
        };
        let logins = Batcher::start(lifecycle, BatchLimits::REQUESTS, handler);
        Self { db, relay, logins }
    }

    /// Records a logout from all devices. `entry` is its line in the audit log.
    pub async fn record_logout(
        &self,
        entry: AuditLogEntry,
        at: DateTime<Utc>,
        revocation: TokenRevocation,
    ) -> Result<(), Error> {
        let user_id = revocation.user_id;
        let session_ids = revocation.session_ids.clone();
        let event = Kind::LoggedOut(LoggedOut {
            user_id,
            session_ids,
        });
        let mut tx = self.db.begin().await?;
        audit_log::record(&mut tx, entry).await?;
        outbox::append(&mut tx, user_id, at.timestamp_micros(), at, event).await?;
        append_revocation(&mut tx, at, revocation).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Lists a page of revocations that have not expired.
    pub async fn list_revocations(
        &self,
        since: Option<DateTime<Utc>>,
        after_id: i64,
        now: DateTime<Utc>,
    ) -> Result<TokenRevocationPage, Error> {
        Ok(revocations::list(&self.db, since, after_id, now).await?)
    }

    /// Records a revocation of tokens that does not log the user out of other sessions.
    pub async fn record_revocation(
        &self,
        entry: AuditLogEntry,
        at: DateTime<Utc>,
        revocation: TokenRevocation,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        audit_log::record(&mut tx, entry).await?;
        append_revocation(&mut tx, at, revocation).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }
}

/// Inserts a revocation for gateways that list them, and appends its event for those that are connected. The
/// version of the event is its instant, as with all events of auth, since nothing else orders the actions of
/// one person on several replicas.
pub(crate) async fn append_revocation(
    tx: &mut PgConnection,
    at: DateTime<Utc>,
    revocation: TokenRevocation,
) -> sqlx::Result<()> {
    revocations::insert(tx, &revocation).await?;
    let (user_id, event) = (revocation.user_id, tokens_revoked_event(revocation));
    let event = Kind::TokensRevoked(event);
    outbox::append(tx, user_id, at.timestamp_micros(), at, event).await
}

/// The event and the gRPC message of a revocation.
pub(crate) fn tokens_revoked_event(revocation: TokenRevocation) -> TokensRevoked {
    TokensRevoked {
        user_id: revocation.user_id,
        token_ids: revocation.token_ids,
        session_ids: revocation.session_ids,
        issued_until: revocation.issued_until.map(timestamp),
        expires_at: Some(timestamp(revocation.expires_at)),
    }
}
