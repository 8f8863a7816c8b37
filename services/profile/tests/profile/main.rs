//! Tests of profile on a real Postgres, through its gRPC service.

mod availability;
mod blocks;
mod deletions;
mod events;
mod favorites;
mod feed;
mod feed_check;
mod feed_events;
mod feed_filters;
mod feed_index;
mod feed_recent;
mod photos;
mod public_texts;
mod ratings;
mod registration;
mod roles;
mod terms;
mod updates;
mod verified;

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use prost::Message as _;
use talktime_kit::messaging::Relay;
use talktime_kit::testing::{TestDatabase, stack_peers};
use talktime_kit::{Clock, Error};
use talktime_profile::SCHEMA;
use talktime_profile::domain::{PublicTextPolicy, RequiredTermsVersion};
use talktime_profile::feed_replica::FeedIndexReplica;
use talktime_profile::grpc::ProfileGrpcApi;
use talktime_profile::peers::{AuthClient, CallsClient};
use talktime_profile::service::{ProfileOperations, ProfileServiceParts};
use talktime_proto::access::v1::Workload;
use talktime_proto::events::v1::Event;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Request, Response, Status};

const UNKNOWN_USER: i64 = 404_404;

/// The gRPC service of profile without a network, on a database and a clock of its own.
struct TestProfile {
    api: ProfileGrpcApi,
    /// The index from which the feed is read.
    feed_index: FeedIndexReplica,
    database: TestDatabase,
    clock: Clock,
}

impl TestProfile {
    async fn start() -> Self {
        let database = TestDatabase::new(SCHEMA).await;
        use_unique_user_ids(&database).await;
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
        let peers = stack_peers(Workload::Profile);
        let auth = AuthClient::connect(&peers, &require_variable("AUTH_GRPC_URL"));
        let calls = CallsClient::connect(&peers, &require_variable("CALLS_GRPC_URL"));
        let (feed_index, refreshes) = FeedIndexReplica::new(database.app.clone());
        tokio::spawn(refreshes);
        feed_index.maintain().await.expect("built");
        let api = ProfileGrpcApi::new(ProfileOperations::new(ProfileServiceParts {
            db: database.app.clone(),
            feed_index: feed_index.clone(),
            relay: Relay::default(),
            clock: clock.clone(),
            auth: auth.expect("a URL"),
            calls: calls.expect("a URL"),
            counts_ttl: Duration::ZERO,
            require_verified: false,
            required_terms: RequiredTermsVersion::default(),
            refuse_external_images: false,
            text_policy: PublicTextPolicy::default(),
            phone_hasher: None,
        }));
        Self {
            api,
            feed_index,
            database,
            clock,
        }
    }

    fn advance_seconds(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn create(&self, request: pb::CreateUserRequest) -> Result<pb::User, Refusal> {
        into_result(self.api.create_user(Request::new(request)).await)
    }

    async fn register(&self, username: &str, role: &str) -> pb::User {
        self.create(registration(username, role))
            .await
            .expect("registered")
    }

    async fn user(&self, user_id: i64) -> Result<pb::User, Refusal> {
        let request = Request::new(pb::GetUserRequest { user_id });
        into_result(self.api.get_user(request).await)
    }

    async fn update(&self, request: pb::UpdateUserRequest) -> Result<pb::User, Refusal> {
        into_result(self.api.update_user(Request::new(request)).await)
    }

    async fn delete(&self, user_id: i64) -> Result<(), Refusal> {
        self.delete_because(user_id, None).await
    }

    async fn delete_because(&self, user_id: i64, reason: Option<&str>) -> Result<(), Refusal> {
        let request = Request::new(pb::DeleteUserRequest {
            user_id,
            reason: reason.map(str::to_owned),
        });
        into_result(self.api.delete_user(request).await).map(|_| ())
    }

    async fn revoke_listener_roles(&self, user_ids: &[i64]) {
        let revoked =
            sqlx::query("UPDATE profile.user_roles SET active = false WHERE user_id = ANY($1)")
                .bind(user_ids)
                .execute(&self.database.app_pool)
                .await;
        revoked.expect("revoked");
    }

    async fn block(&self, blocker_id: i64, blocked_id: i64) {
        sqlx::query(
            "INSERT INTO profile.user_blocks (blocker_id, blocked_id, action_type)
             VALUES ($1, $2, 'block')",
        )
        .bind(blocker_id)
        .bind(blocked_id)
        .execute(&self.database.app_pool)
        .await
        .expect("blocked");
    }

    /// Loads the events of a user, oldest first.
    async fn load_events(&self, user_id: i64) -> Vec<Event> {
        let payloads: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT payload FROM profile.outbox WHERE aggregate_id = $1 ORDER BY outbox_id",
        )
        .bind(user_id)
        .fetch_all(&self.database.app_pool)
        .await
        .expect("readable");
        let events = payloads.iter();
        events
            .map(|payload| Event::decode(payload.as_slice()).expect("an event"))
            .collect()
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.database.app_pool)
            .await
            .expect("readable")
    }
}

/// Gives the users of this database ids that no user of the stack has: auth is the stack's, and ends the accounts
/// of users who are deleted here.
async fn use_unique_user_ids(database: &TestDatabase) {
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&database.superuser)
        .await
        .expect("readable");
    let seed = name.bytes().fold(0_u64, |hash, byte| {
        hash.wrapping_mul(1_000_003) ^ u64::from(byte)
    });
    let first = (1_u64 << 40) + (seed % (1 << 50));
    let restart = format!("ALTER TABLE profile.users ALTER user_id RESTART WITH {first}");
    sqlx::query(sqlx::AssertSqlSafe(restart))
        .execute(&database.superuser)
        .await
        .expect("restarted");
}

/// Returns an environment variable of the test's stack.
fn require_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo dev test`"))
}

/// A valid registration, whose phone and id are derived from the name.
fn registration(username: &str, role: &str) -> pb::CreateUserRequest {
    let number = username.bytes().fold(0_u64, |sum, byte| {
        (sum * 257 + u64::from(byte)) % 10_000_000_000
    });
    pb::CreateUserRequest {
        registration_id: format!("registration-of-{username}"),
        phone: format!("+91{number:010}"),
        username: username.to_owned(),
        sex: "female".to_owned(),
        dob: "1999-12-31".to_owned(),
        role: role.to_owned(),
        bio: Some("Hello".to_owned()),
        interests: vec!["music".to_owned()],
        profile_image_url: Some("https://example.com/a.png".to_owned()),
        preferred_language: "hi".to_owned(),
        terms_version: None,
    }
}

/// An error as a caller sees it: the gRPC code and our own.
#[derive(Debug, Eq, PartialEq)]
struct Refusal(tonic::Code, String);

fn refusal(code: tonic::Code, name: &str) -> Refusal {
    Refusal(code, name.to_owned())
}

fn into_result<T>(result: Result<Response<T>, Status>) -> Result<T, Refusal> {
    result.map(Response::into_inner).map_err(|status| {
        let code = status.code();
        Refusal(code, Error::from(status).code().to_owned())
    })
}
