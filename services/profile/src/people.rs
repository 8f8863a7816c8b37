//! Operations on people, each in one transaction.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_kit::db::{Database, is_unique_violation};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, india, text};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{RoleChanged, UserDeleted, UserRegistered, UserUpdated};

use crate::domain::{ProfileError, Registration, Role, User, UserUpdate, fields};
use crate::store::user_blocks::{self, CallCheck};
use crate::store::{spent_registrations, user_roles, users};

/// Planned calls in one request.
const PLANNED_CALLS_MAX: usize = 200;
/// Of an operator's name; the audit log has room for that.
const OPERATOR_CHARACTERS_MAX: usize = 100;

/// Profile's operations on its own database.
#[derive(Clone)]
pub struct People {
    db: Database,
    relay: Relay,
    clock: Clock,
    require_verified: bool,
}

impl People {
    /// Operations on a migrated database; `relay` is woken when there are events.
    pub fn new(db: Database, relay: Relay, clock: Clock) -> Self {
        Self {
            db,
            relay,
            clock,
            require_verified: false,
        }
    }

    /// Lets only verified listeners be called, where `require` says so.
    #[must_use]
    pub fn require_verified(self, require: bool) -> Self {
        Self {
            require_verified: require,
            ..self
        }
    }

    /// Names of users by id; who does not exist has none.
    pub async fn usernames(&self, user_ids: &[i64]) -> Result<Vec<(i64, String)>, ProfileError> {
        let mut connection = self.db.acquire().await?;
        Ok(users::names(&mut connection, user_ids).await?)
    }

    /// Makes a user. The same registration again answers with the user it made, as they are now.
    pub async fn register(&self, registration: &Registration) -> Result<User, ProfileError> {
        let now = self.clock.now();
        registration.check(india::date(now))?;
        let mut tx = self.db.begin().await?;
        let user_id = match users::insert(&mut tx, registration, now).await? {
            Some(user_id) => {
                // A statement of its own: the insert may have waited for the deletion that it must see.
                if spent_registrations::contains(&mut tx, &registration.registration_id).await? {
                    return Err(ProfileError::RegistrationSpent);
                }
                welcome(&mut tx, user_id, registration, now).await?;
                user_id
            }
            None => users::conflicts(&mut tx, registration).await?.resolve()?,
        };
        let user = users::find(&mut tx, user_id).await?;
        tx.commit().await?;
        self.relay.wake();
        user.ok_or(ProfileError::UserNotFound)
    }

    /// A user by id.
    pub async fn of(&self, user_id: i64) -> Result<User, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let user = users::find(&mut connection, user_id).await?;
        user.ok_or(ProfileError::UserNotFound)
    }

    /// A user by phone.
    pub async fn with_phone(&self, phone: &str) -> Result<User, ProfileError> {
        fields::check_phone(phone)?;
        let mut connection = self.db.acquire().await?;
        let user = users::find_by_phone(&mut connection, phone).await?;
        user.ok_or(ProfileError::UserNotFound)
    }

    /// Changes what the update names.
    pub async fn update(&self, user_id: i64, update: UserUpdate) -> Result<User, ProfileError> {
        update.check()?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let mut user = users::lock(&mut tx, user_id)
            .await?
            .ok_or(ProfileError::UserNotFound)?;
        if !user.apply(update, now)? {
            return Ok(user);
        }
        users::save(&mut tx, &user).await.map_err(name_taken)?;
        let updated = Kind::UserUpdated(UserUpdated {
            user_id,
            username: user.username.clone(),
        });
        outbox::append(&mut tx, user_id, user.version, now, updated).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(user)
    }

    /// Deletes a user, here now and by event in every service. The last step of a deletion: see
    /// [`crate::deletions`].
    pub async fn delete(&self, user_id: i64) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        let user = users::delete(&mut tx, user_id)
            .await?
            .ok_or(ProfileError::UserNotFound)?;
        if let Some(registration_id) = &user.registration_id {
            spent_registrations::insert(&mut tx, registration_id).await?;
        }
        let deleted = Kind::UserDeleted(UserDeleted { user_id });
        let now = self.clock.now();
        outbox::append(&mut tx, user_id, user.version + 1, now, deleted).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Whether callers may call listeners, `(caller_id, listener_id)` each; in their order.
    pub async fn check_calls(
        &self,
        planned: &[(i64, i64)],
    ) -> Result<Vec<CallCheck>, ProfileError> {
        if planned.len() > PLANNED_CALLS_MAX {
            return Err(ProfileError::TooManyUsers);
        }
        let mut connection = self.db.acquire().await?;
        let mut checks = user_blocks::check_calls(&mut connection, planned).await?;
        for check in &mut checks {
            check.is_verification_missing &= self.require_verified;
        }
        Ok(checks)
    }
}

/// What a new user has besides their row.
async fn welcome(
    tx: &mut PgConnection,
    user_id: i64,
    registration: &Registration,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let Registration { role, username, .. } = registration;
    user_roles::grant(tx, user_id, *role, now).await?;
    let registered = Kind::UserRegistered(UserRegistered {
        user_id,
        username: username.clone(),
        role: role.name().to_owned(),
    });
    outbox::append(tx, user_id, 1, now, registered).await
}

fn name_taken(error: sqlx::Error) -> ProfileError {
    if is_unique_violation(&error, users::USERNAME_INDEX) {
        ProfileError::UsernameTaken
    } else {
        error.into()
    }
}

/// Makes the user with this phone an admin, for an operator at a terminal: no request does it.
pub async fn grant_admin(
    db: &Database,
    phone: &str,
    operator: &str,
    now: DateTime<Utc>,
) -> Result<User, ProfileError> {
    let mut tx = db.begin().await?;
    let user = with_phone(&mut tx, phone).await?;
    if user_roles::grant(&mut tx, user.user_id, Role::Admin, now).await? {
        tell_of_admin(&mut tx, &user, true, operator, now).await?;
    }
    tx.commit().await?;
    Ok(user)
}

/// Takes that role away again. Roles are asked for on each request, so the next one is refused.
pub async fn revoke_admin(
    db: &Database,
    phone: &str,
    operator: &str,
    now: DateTime<Utc>,
) -> Result<User, ProfileError> {
    let mut tx = db.begin().await?;
    let user = with_phone(&mut tx, phone).await?;
    if user_roles::revoke(&mut tx, user.user_id, Role::Admin).await? {
        tell_of_admin(&mut tx, &user, false, operator, now).await?;
    }
    tx.commit().await?;
    Ok(user)
}

async fn with_phone(tx: &mut PgConnection, phone: &str) -> Result<User, ProfileError> {
    let user = users::find_by_phone(tx, phone).await?;
    user.ok_or(ProfileError::UserNotFound)
}

async fn tell_of_admin(
    tx: &mut PgConnection,
    user: &User,
    active: bool,
    operator: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let version = users::next_version(tx, user.user_id).await?;
    let changed = Kind::RoleChanged(RoleChanged {
        user_id: user.user_id,
        role: Role::Admin.name().to_owned(),
        active,
        operator: text::visible_line(operator, OPERATOR_CHARACTERS_MAX),
    });
    outbox::append(tx, user.user_id, version, now, changed).await
}
