//! Operations on users, each in one transaction.

use chrono::{DateTime, Utc};
use talktime_kit::db::{DatabasePool, PgConnection, expect_row_count};
use talktime_kit::messaging::Relay;
use talktime_kit::{Clock, india};

use crate::domain::{
    CallPermissionFacts, ListenerPreferences, ListenerPreferencesUpdate, PlannedParties,
    ProfileError, PublicProfile, PublicTextPolicy, RegistrationRequest, RequiredTermsVersion, User,
    UserProfileUpdate, UserVisibility, UsernameAvailability, fields, username_candidates,
};
use crate::events::{append_user_deleted, append_user_registered, append_user_updated};
use crate::phone_hash::PhoneHasher;
use crate::store::users::PhoneAccountRow;
use crate::store::{deletion_reasons, spent_registrations, user_blocks, user_roles, users};

/// The most users, or planned calls, that one request may name.
const LOOKUPS_MAX: usize = 200;

/// Operations on users; cheap to clone.
#[derive(Clone)]
pub struct UserService {
    db: DatabasePool,
    relay: Relay,
    clock: Clock,
    require_verified: bool,
    required_terms: RequiredTermsVersion,
    refuse_external_images: bool,
    text_policy: PublicTextPolicy,
    phone_hasher: Option<PhoneHasher>,
}

impl UserService {
    /// Creates the operations on a migrated database. They wake `relay` when they have appended events.
    pub fn new(db: DatabasePool, relay: Relay, clock: Clock) -> Self {
        Self {
            db,
            relay,
            clock,
            require_verified: false,
            required_terms: RequiredTermsVersion::default(),
            refuse_external_images: false,
            text_policy: PublicTextPolicy::default(),
            phone_hasher: None,
        }
    }

    /// Permits calls only to verified listeners, if `require` is set.
    #[must_use]
    pub fn require_verified(self, require: bool) -> Self {
        Self {
            require_verified: require,
            ..self
        }
    }

    /// Refuses images that users give by address, if `refuse` is set.
    #[must_use]
    pub fn refuse_external_images(self, refuse: bool) -> Self {
        Self {
            refuse_external_images: refuse,
            ..self
        }
    }

    /// Refuses names and biographies that this policy does not allow.
    #[must_use]
    pub fn apply_text_policy(self, text_policy: PublicTextPolicy) -> Self {
        Self {
            text_policy,
            ..self
        }
    }

    /// Adds a keyed hash of the phone to the events of registrations and deletions.
    #[must_use]
    pub fn hash_phones(self, phone_hasher: Option<PhoneHasher>) -> Self {
        Self {
            phone_hasher,
            ..self
        }
    }

    /// Returns the hash of a phone; empty without a key.
    fn hash_phone(&self, phone: &str) -> Vec<u8> {
        let hasher = self.phone_hasher.as_ref();
        hasher.map_or_else(Vec::new, |hasher| hasher.hash(phone))
    }

    /// Refuses registrations that do not accept these terms.
    #[must_use]
    pub fn require_terms(self, required_terms: RequiredTermsVersion) -> Self {
        Self {
            required_terms,
            ..self
        }
    }

    /// Lists the names of users by id; ids without a user are left out.
    pub async fn list_usernames(
        &self,
        user_ids: &[i64],
    ) -> Result<Vec<(i64, String)>, ProfileError> {
        check_lookups(user_ids.len())?;
        let mut connection = self.db.acquire().await?;
        Ok(users::list_usernames(&mut connection, user_ids).await?)
    }

    /// Returns the users among several whom nothing hides from a viewer, each with the reach of their status.
    pub async fn filter_visible(
        &self,
        viewer_id: i64,
        user_ids: &[i64],
    ) -> Result<Vec<UserVisibility>, ProfileError> {
        check_lookups(user_ids.len())?;
        let mut connection = self.db.acquire().await?;
        Ok(users::filter_visible(&mut connection, viewer_id, user_ids).await?)
    }

    /// Lists the public profiles of users; ids without a user are left out.
    pub async fn list_public_profiles(
        &self,
        user_ids: &[i64],
    ) -> Result<Vec<PublicProfile>, ProfileError> {
        check_lookups(user_ids.len())?;
        let mut connection = self.db.acquire().await?;
        Ok(users::list_public_profiles(&mut connection, user_ids).await?)
    }

    /// Creates a user. The same registration again returns the user that it created, as they are now.
    pub async fn register_user(
        &self,
        registration: &RegistrationRequest,
    ) -> Result<User, ProfileError> {
        let now = self.clock.now();
        registration.check(india::date(now))?;
        self.text_policy.check_registration(registration)?;
        self.required_terms
            .check_registration(registration.terms_version.as_deref())?;
        if self.refuse_external_images && registration.profile_image_url.is_some() {
            return Err(ProfileError::ExternalImage);
        }
        let mut tx = self.db.begin().await?;
        let user_id = match users::insert(&mut tx, registration, now).await? {
            Some(user_id) => {
                let phone_hash = self.hash_phone(&registration.phone);
                complete_registration(&mut tx, user_id, registration, phone_hash, now).await?;
                user_id
            }
            None => users::find_conflicts(&mut tx, registration)
                .await?
                .resolve()?,
        };
        let user = users::find(&mut tx, user_id).await?;
        tx.commit().await?;
        self.relay.wake();
        user.ok_or(ProfileError::UserNotFound)
    }

    pub async fn load_user(&self, user_id: i64) -> Result<User, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let user = users::find(&mut connection, user_id).await?;
        user.ok_or(ProfileError::UserNotFound)
    }

    pub async fn list_roles(&self, user_id: i64) -> Result<Vec<String>, ProfileError> {
        let mut connection = self.db.acquire().await?;
        Ok(user_roles::list_active(&mut connection, user_id).await?)
    }

    pub async fn load_user_by_phone(&self, phone: &str) -> Result<User, ProfileError> {
        fields::check_phone(phone)?;
        let mut connection = self.db.acquire().await?;
        let user = users::find_by_phone(&mut connection, phone).await?;
        user.ok_or(ProfileError::UserNotFound)
    }

    /// Finds the accounts of phones; phones without one are left out.
    pub async fn find_accounts(
        &self,
        phones: &[String],
    ) -> Result<Vec<PhoneAccountRow>, ProfileError> {
        check_lookups(phones.len())?;
        for phone in phones {
            fields::check_phone(phone)?;
        }
        let mut connection = self.db.acquire().await?;
        Ok(users::find_accounts(&mut connection, phones).await?)
    }

    /// Checks whether a user name is free, and suggests others if it is not. Only the registration itself takes
    /// the name.
    pub async fn check_username(
        &self,
        username: &str,
    ) -> Result<UsernameAvailability, ProfileError> {
        fields::check_username(username)?;
        if self.text_policy.check_username(username).is_err() {
            return Ok(UsernameAvailability::without_suggestions());
        }
        let candidates = username_candidates(username, |bound| rand::random_range(0..bound));
        let names = candidates.iter().map(String::as_str).chain([username]);
        let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
        let mut connection = self.db.acquire().await?;
        let taken = users::list_taken_usernames(&mut connection, &names).await?;
        Ok(UsernameAvailability::evaluate(username, candidates, &taken))
    }

    /// Changes the fields that the update names.
    pub async fn update_user(
        &self,
        user_id: i64,
        update: UserProfileUpdate,
    ) -> Result<User, ProfileError> {
        update.check()?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let mut user = users::lock(&mut tx, user_id)
            .await?
            .ok_or(ProfileError::UserNotFound)?;
        self.required_terms.check_update(
            update.terms_version.as_deref(),
            user.terms_version.as_deref(),
        )?;
        self.text_policy.check_update(&user, &update)?;
        if self.refuse_external_images && user.gets_new_image(&update) {
            return Err(ProfileError::ExternalImage);
        }
        if !user.apply(update, now)? {
            return Ok(user);
        }
        users::update(&mut tx, &user).await?;
        append_user_updated(&mut tx, &user, now).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(user)
    }

    /// Deletes a user here at once, and in the other services by an event. This is the last step of a deletion:
    /// see [`crate::deletions`].
    pub async fn delete_user(&self, user_id: i64) -> Result<(), ProfileError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        deletion_reasons::insert_from_pending(&mut tx, user_id, india::date(now)).await?;
        let user = users::delete(&mut tx, user_id)
            .await?
            .ok_or(ProfileError::UserNotFound)?;
        if let Some(registration_id) = &user.registration_id {
            spent_registrations::insert(&mut tx, registration_id).await?;
        }
        let phone_hash = self.hash_phone(&user.phone);
        append_user_deleted(&mut tx, user_id, user.version, phone_hash, now).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    pub async fn load_preferences(
        &self,
        user_id: i64,
    ) -> Result<ListenerPreferences, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let found = users::find_preferences(&mut connection, user_id).await?;
        found.ok_or(ProfileError::UserNotFound)
    }

    /// Changes the types of calls that a listener takes.
    pub async fn update_preferences(
        &self,
        user_id: i64,
        update: ListenerPreferencesUpdate,
    ) -> Result<ListenerPreferences, ProfileError> {
        let mut tx = self.db.begin().await?;
        let locked = users::lock_preferences(&mut tx, user_id).await?;
        let preferences = locked.ok_or(ProfileError::UserNotFound)?.updated(update)?;
        users::update_preferences(&mut tx, user_id, preferences).await?;
        tx.commit().await?;
        Ok(preferences)
    }

    /// Checks whether callers may call listeners. The results have the order of the calls.
    pub async fn check_calls(
        &self,
        planned: &[PlannedParties],
    ) -> Result<Vec<CallPermissionFacts>, ProfileError> {
        check_lookups(planned.len())?;
        let mut connection = self.db.acquire().await?;
        let mut checks = user_blocks::check_calls(&mut connection, planned).await?;
        for check in &mut checks {
            check.is_verification_missing &= self.require_verified;
        }
        Ok(checks)
    }
}

fn check_lookups(count: usize) -> Result<(), ProfileError> {
    if count > LOOKUPS_MAX {
        return Err(ProfileError::TooManyUsers);
    }
    Ok(())
}

/// Grants the role of a new user and appends the event, unless the registration was spent by a deletion.
async fn complete_registration(
    tx: &mut PgConnection,
    user_id: i64,
    registration: &RegistrationRequest,
    phone_hash: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<(), ProfileError> {
    // This is a statement of its own because the insert may have waited for the deletion that it must see.
    if spent_registrations::contains(tx, &registration.registration_id).await? {
        return Err(ProfileError::RegistrationSpent);
    }
    let is_granted = user_roles::grant(tx, user_id, registration.role, now).await?;
    expect_row_count(is_granted.into(), 1, "profile.user_roles", user_id)?;
    append_user_registered(tx, user_id, registration, phone_hash, now).await?;
    Ok(())
}
