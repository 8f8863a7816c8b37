//! Profile: people, their roles, favourites and blocks, and the feed of listeners.
//!
//! [`domain`] decides, [`store`] keeps, [`people`], [`favorites`], [`blocks`] and [`feed`] do one operation in one
//! transaction, [`deletions`] ends accounts step by step, [`feed_check`] compares the feed with what its [`owners`] say, [`grpc`] speaks to the
//! other services.

pub mod blocks;
pub mod config;
pub mod deletions;
pub mod domain;
pub mod events;
pub mod favorites;
pub mod feed;
pub mod feed_check;
pub mod grpc;
pub mod owners;
pub mod people;
pub mod remembered;
pub mod store;

use std::time::Duration;

use sqlx::migrate::Migrator;
use talktime_kit::Service;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{PlanCacheMode, Schema};
use talktime_kit::grpc::client;
use talktime_kit::messaging::Consumer;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use talktime_proto::profile::v1::profile_service_server::{self, ProfileServiceServer};
use tonic::service::Routes;

use crate::blocks::Blocks;
use crate::config::Config;
use crate::deletions::Deletions;
use crate::events::{FeedEvents, RatingEvents};
use crate::favorites::Favorites;
use crate::feed::Feed;
use crate::feed_check::FeedCheck;
use crate::grpc::{Operations, ProfileApi};
use crate::owners::Owners;
use crate::people::People;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Profile's schema.
pub const SCHEMA: Schema = Schema {
    name: "profile",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::Auto,
};

/// Whom the feed's read model follows.
const CONSUMERS: [Consumer; 3] = [
    Consumer {
        name: "profile-presence",
        filter: "events.presence.>",
    },
    Consumer {
        name: "profile-calls",
        filter: "events.calls.>",
    },
    Consumer {
        name: "profile-verification",
        filter: "events.verification.>",
    },
];

const RATINGS: Consumer = Consumer {
    name: "profile-ratings",
    filter: "events.calls.call_rated",
};

/// Runs profile until a signal.
pub async fn serve(service: ServiceConfig, config: Config) -> anyhow::Result<()> {
    let service = Service::start(service, SCHEMA).await?;
    let (db, relay, clock) = (&service.db, &service.relay, &service.clock);
    let require_verified = config.require_verified_listeners;
    let people = People::new(db.clone(), relay.clone(), clock.clone());
    let people = people.require_verified(require_verified);
    let auth = AuthServiceClient::new(client::connect(&config.peers.auth)?);
    let deletions = Deletions::new(db.clone(), people.clone(), auth);
    let sweeping = deletions.clone().run(service.lifecycle.stopping());
    service.lifecycle.spawn(sweeping);
    let operations = Operations {
        people,
        deletions,
        feed: Feed::new(
            db.clone(),
            clock.clone(),
            Duration::from_millis(config.feed.counts_last_ms),
        )
        .require_verified(require_verified),
        favorites: Favorites::new(db.clone(), relay.clone(), clock.clone()),
        blocks: Blocks::new(db.clone(), relay.clone(), clock.clone()),
    };
    let owners = Owners::connect(&config.peers)?;
    let calls = owners.calls();
    let check = FeedCheck::new(db.clone(), owners, config.feed);
    let stopping = service.lifecycle.stopping();
    service.lifecycle.spawn(check.run(stopping));
    for consumer in CONSUMERS {
        service.consume(consumer, FeedEvents);
    }
    service.consume(RATINGS, RatingEvents);
    let api = ProfileApi::new(operations, calls);
    let routes = Routes::new(ProfileServiceServer::new(api));
    service
        .serve(routes, &[profile_service_server::SERVICE_NAME])
        .await
}
