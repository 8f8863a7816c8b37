//! The operations of profile and what they share.

use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;
use talktime_kit::messaging::Relay;

use crate::blocks::BlockService;
use crate::deletions::AccountDeletionService;
use crate::domain::{PublicTextPolicy, RequiredTermsVersion};
use crate::favorites::FavoriteService;
use crate::feed::FeedService;
use crate::feed_replica::FeedIndexReplica;
use crate::peers::{AuthClient, CallsClient};
use crate::phone_hash::PhoneHasher;
use crate::users::UserService;

/// Dependencies of [`ProfileOperations`].
pub struct ProfileServiceParts {
    /// The migrated schema of this service.
    pub db: DatabasePool,
    /// Publishes the outbox; woken after every commit with events.
    pub relay: Relay,
    /// The index from which pages of the feed are read once it is built.
    pub feed_index: FeedIndexReplica,
    pub clock: Clock,
    pub auth: AuthClient,
    pub calls: CallsClient,
    /// The age up to which counts of the feed are reused.
    pub counts_ttl: Duration,
    /// Whether the feed shows only verified listeners, and only they can be called.
    pub require_verified: bool,
    pub required_terms: RequiredTermsVersion,
    /// Whether images by address are refused.
    pub refuse_external_images: bool,
    pub text_policy: PublicTextPolicy,
    /// Hashes phones for the wallet; none if no key is set.
    pub phone_hasher: Option<PhoneHasher>,
}

/// The operations of profile.
pub struct ProfileOperations {
    pub users: UserService,
    pub deletions: AccountDeletionService,
    pub feed: FeedService,
    pub favorites: FavoriteService,
    pub blocks: BlockService,
}

impl ProfileOperations {
    pub fn new(parts: ProfileServiceParts) -> Self {
        let (db, relay, clock) = (parts.db, parts.relay, parts.clock);
        let users = UserService::new(db.clone(), relay.clone(), clock.clone())
            .require_verified(parts.require_verified)
            .require_terms(parts.required_terms)
            .refuse_external_images(parts.refuse_external_images)
            .apply_text_policy(parts.text_policy)
            .hash_phones(parts.phone_hasher);
        Self {
            deletions: AccountDeletionService::new(
                db.clone(),
                users.clone(),
                parts.auth,
                parts.calls,
            ),
            users,
            feed: FeedService::new(db.clone(), clock.clone(), parts.counts_ttl)
                .read_index(parts.feed_index)
                .require_verified(parts.require_verified),
            favorites: FavoriteService::new(db.clone(), relay.clone(), clock.clone()),
            blocks: BlockService::new(db, relay, clock),
        }
    }
}
