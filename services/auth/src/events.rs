//! Events that auth publishes, and those that it handles.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_kit::db::Database;
use talktime_kit::messaging::{Handler, Relay, outbox};
use talktime_kit::redis::Pool;
use talktime_kit::{Clock, Error};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, LoggedOut, RoleChanged, TokensRevoked};
use talktime_proto::{datetime, timestamp};

use crate::domain::TokenRevocation;
use crate::domain::claims::TokenLifetimes;
use crate::login_records::end_account;
use crate::store::audit_log::{self, AuditAction, AuditEntry};
use crate::store::revocations::RevocationPage;
use crate::store::{revocations, sessions};

/// Records logins, logouts and revocations in Postgres: the audit log, and the outbox that publishes events.
#[derive(Clone)]
pub struct EventRecorder {
    pub(crate) db: Database,
    pub(crate) relay: Relay,
}

impl EventRecorder {
    /// A journal in the outbox of `db`; `relay` is woken when there are events.
    pub fn new(db: Database, relay: Relay) -> Self {
        Self { db, relay }
    }

    /// Records a logout from all devices. `entry` is its line in the audit log.
    pub async fn record_logout(
        &self,
        entry: AuditEntry,
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
    ) -> Result<RevocationPage, Error> {
        Ok(revocations::list(&self.db, since, after_id, now).await?)
    }

    /// Records a revocation of tokens that does not log the user out of other sessions.
    pub async fn record_revocation(
        &self,
        entry: AuditEntry,
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

/// Handles events of the profile service: ends the sessions of deleted users, and audits changes of roles.
pub struct ProfileEventHandler {
    redis: Pool,
    lifetimes: TokenLifetimes,
    clock: Clock,
}

impl ProfileEventHandler {
    /// A handler for tokens that hold for `lifetimes`.
    pub fn new(redis: Pool, lifetimes: TokenLifetimes, clock: Clock) -> Self {
        Self {
            redis,
            lifetimes,
            clock,
        }
    }

    /// A deletion has asked for this before it was published, unless its profile service is one that did
    /// not do so yet.
    async fn end_account(&self, tx: &mut PgConnection, user_id: i64) -> Result<(), Error> {
        let now = self.clock.now();
        let revocation = end_account(tx, user_id, now, &self.lifetimes).await?;
        sessions::revoke(&self.redis, &revocation, now).await?;
        Ok(())
    }

    async fn record_role_change(
        &self,
        tx: &mut PgConnection,
        changed: RoleChanged,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        let action = if changed.active {
            AuditAction::RoleGranted
        } else {
            AuditAction::RoleRevoked
        };
        let detail = format!("{} by {}", changed.role, changed.operator);
        let entry = AuditEntry::new(action, at).with_user(changed.user_id);
        audit_log::record(tx, entry.with_detail(detail)).await?;
        Ok(())
    }
}

impl Handler for ProfileEventHandler {
    /// The effect in Redis may safely happen twice: if the transaction fails, it does.
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let happened_at = datetime(event.happened_at.as_ref());
        let at = happened_at.unwrap_or_else(|| self.clock.now());
        match event.kind {
            Some(Kind::UserDeleted(user)) => self.end_account(tx, user.user_id).await,
            Some(Kind::RoleChanged(changed)) => self.record_role_change(tx, changed, at).await,
            _ => Ok(()),
        }
    }
}
