//! Events that profile publishes. Each is appended to the outbox in the transaction that makes it true.
//!
//! Versions of a user's own events are those of the row. Favourites and blocks have no row version: their
//! events are numbered by the clock, in the order of commits, since their transactions lock the user first.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox;
use talktime_kit::text;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    FavoriteAdded, FavoriteRemoved, RoleChanged, UserBlocked, UserDeleted, UserRegistered,
    UserUnblocked, UserUpdated,
};

use crate::domain::{RegistrationRequest, User, UserBlock, UserRole};

/// The audit log limits the name of an operator to this length.
const OPERATOR_CHARACTERS_MAX: usize = 100;
/// The version of a user's first event and of a new row.
const FIRST_VERSION: i64 = 1;

pub(crate) async fn append_user_registered(
    tx: &mut PgConnection,
    user_id: i64,
    registration: &RegistrationRequest,
    phone_hash: Vec<u8>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::UserRegistered(UserRegistered {
        user_id,
        username: registration.username.clone(),
        role: registration.role.name().to_owned(),
        phone_hash,
    });
    outbox::append(tx, user_id, FIRST_VERSION, now, event).await
}

pub(crate) async fn append_user_updated(
    tx: &mut PgConnection,
    user: &User,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::UserUpdated(UserUpdated {
        user_id: user.user_id,
        username: user.username.clone(),
    });
    outbox::append(tx, user.user_id, user.version, now, event).await
}

/// Appends the last event of a user whose row had the version `last_version`.
pub(crate) async fn append_user_deleted(
    tx: &mut PgConnection,
    user_id: i64,
    last_version: i64,
    phone_hash: Vec<u8>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::UserDeleted(UserDeleted {
        user_id,
        phone_hash,
    });
    outbox::append(tx, user_id, last_version + 1, now, event).await
}

/// Appends the grant or the revocation of the role admin, `version` being the new version of the user.
pub(crate) async fn append_admin_changed(
    tx: &mut PgConnection,
    user_id: i64,
    version: i64,
    is_active: bool,
    operator: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::RoleChanged(RoleChanged {
        user_id,
        role: UserRole::Admin.name().to_owned(),
        active: is_active,
        operator: text::visible_line(operator, OPERATOR_CHARACTERS_MAX),
    });
    outbox::append(tx, user_id, version, now, event).await
}

/// Appends an added favourite; `username` is the name of the user as the listener may read it.
pub(crate) async fn append_favorite_added(
    tx: &mut PgConnection,
    user_id: i64,
    listener_id: i64,
    username: String,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::FavoriteAdded(FavoriteAdded {
        user_id,
        listener_id,
        username,
    });
    outbox::append(tx, user_id, now.timestamp_micros(), now, event).await
}

/// Appends a removed favourite; `username` is the name of the user as the listener may read it.
pub(crate) async fn append_favorite_removed(
    tx: &mut PgConnection,
    user_id: i64,
    listener_id: i64,
    username: String,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::FavoriteRemoved(FavoriteRemoved {
        user_id,
        listener_id,
        username,
    });
    outbox::append(tx, user_id, now.timestamp_micros(), now, event).await
}

pub(crate) async fn append_user_blocked(
    tx: &mut PgConnection,
    block: &UserBlock,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::UserBlocked(UserBlocked {
        user_id: block.blocker_id,
        blocked_id: block.blocked_id,
        action_type: block.action.name().to_owned(),
    });
    outbox::append(tx, block.blocker_id, now.timestamp_micros(), now, event).await
}

pub(crate) async fn append_user_unblocked(
    tx: &mut PgConnection,
    user_id: i64,
    blocked_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let event = Kind::UserUnblocked(UserUnblocked {
        user_id,
        blocked_id,
    });
    outbox::append(tx, user_id, now.timestamp_micros(), now, event).await
}
