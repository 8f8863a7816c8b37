//! Events that auth consumes.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::{EventHandler, Relay};
use talktime_kit::redis::Pool;
use talktime_kit::{Clock, Error};
use talktime_proto::datetime;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, RoleChanged};

use crate::domain::claims::TokenLifetimes;
use crate::login_records::end_account;
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::sessions;

/// Ends the sessions of deleted users, and audits changes of roles.
pub struct AuthEventHandler {
    redis: Pool,
    lifetimes: TokenLifetimes,
    relay: Relay,
    clock: Clock,
}

impl AuthEventHandler {
    /// Returns a handler for tokens with these lifetimes. It wakes `relay` after it has appended events.
    pub fn new(redis: Pool, lifetimes: TokenLifetimes, relay: Relay, clock: Clock) -> Self {
        Self {
            redis,
            lifetimes,
            relay,
            clock,
        }
    }

    /// A deletion has requested this before it was published, unless its profile service is one that did
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
        let entry = AuditLogEntry::new(action, at).with_user(changed.user_id);
        audit_log::record(tx, entry.with_detail(detail)).await?;
        Ok(())
    }
}

impl EventHandler for AuthEventHandler {
    /// The effect in Redis happens again if the transaction fails, which does no harm.
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let happened_at = datetime(event.happened_at.as_ref());
        let at = happened_at.unwrap_or_else(|| self.clock.now());
        match event.kind {
            Some(Kind::UserDeleted(user)) => self.end_account(tx, user.user_id).await,
            Some(Kind::RoleChanged(changed)) => self.record_role_change(tx, changed, at).await,
            _ => Ok(()),
        }
    }

    fn committed(&self) {
        self.relay.wake();
    }
}
