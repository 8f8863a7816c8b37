//! Presence on a real Postgres: requests and events that report the same changes, in any order.

mod calls;
mod heartbeats;
mod people;
mod sweep;

use chrono::{DateTime, TimeDelta, Utc};
use prost::Message as _;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::{EventHandler, Relay};
use talktime_kit::testing::{TestDatabase, stack_peers};
use talktime_kit::{Clock, Error};
use talktime_presence::SCHEMA;
use talktime_presence::config::{HeartbeatBatchConfig, StatusSweepConfig};
use talktime_presence::consumers::PresenceEventHandler;
use talktime_presence::grpc::PresenceGrpcApi;
use talktime_presence::heartbeats::HeartbeatRecorder;
use talktime_presence::jobs::sweep::StatusSweeper;
use talktime_presence::peers::CallsClient;
use talktime_presence::session_changes::SessionChangeRecorder;
use talktime_presence::statuses::StatusService;
use talktime_proto::access::v1::Workload;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged, UserRegistered};
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use talktime_proto::presence::v1::{self as pb, call_change};
use talktime_proto::timestamp;
use tonic::{Request, Response, Status};

const ASHA: i64 = 1;
const RAVI: i64 = 2;
const NOBODY: i64 = 404;
const ONLINE: bool = true;
const OFFLINE: bool = false;

/// Presence without its network: the gRPC service and the event handler, with their own database and clock.
struct Presence {
    api: PresenceGrpcApi,
    events: PresenceEventHandler,
    sweeper: StatusSweeper,
    database: TestDatabase,
    clock: Clock,
}

impl Presence {
    async fn start() -> Self {
        Self::start_with(HeartbeatBatchConfig::default(), None).await
    }

    async fn start_with(
        heartbeats: HeartbeatBatchConfig,
        nats: Option<async_nats::Client>,
    ) -> Self {
        let database = TestDatabase::new(SCHEMA).await;
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
        let relay = Relay::default();
        let statuses = StatusService::new(database.app.clone(), relay.clone(), clock.clone());
        let (heartbeats, heartbeat_worker) =
            HeartbeatRecorder::new(heartbeats, statuses.clone(), nats);
        tokio::spawn(heartbeat_worker);
        let calls_url = std::env::var("CALLS_GRPC_URL").expect("set by `cargo dev test`");
        let sweeper = StatusSweeper::new(
            database.app.clone(),
            relay.clone(),
            clock.clone(),
            CallsClient::connect(&stack_peers(Workload::Presence), &calls_url).expect("a URL"),
            StatusSweepConfig::default(),
        );
        let sessions = SessionChangeRecorder::start(&ProcessLifecycle::default(), statuses.clone());
        Self {
            api: PresenceGrpcApi::new(statuses, heartbeats, sessions, sweeper.clone()),
            sweeper,
            events: PresenceEventHandler::new(relay, clock.clone()),
            database,
            clock,
        }
    }

    /// Starts with two registered users, Asha and Ravi.
    async fn start_with_two_users() -> Self {
        let presence = Self::start().await;
        presence.handle_event(1, registered(ASHA, "asha")).await;
        presence.handle_event(1, registered(RAVI, "ravi")).await;
        presence
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn advance_clock(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Handles an event that happened now.
    async fn handle_event(&self, version: i64, kind: Kind) {
        self.handle_event_at(version, self.now(), kind).await;
    }

    /// Handles an event that happened at a given time, as the consumer does.
    async fn handle_event_at(&self, version: i64, happened_at: DateTime<Utc>, kind: Kind) {
        let event = Event {
            version,
            happened_at: Some(timestamp(happened_at)),
            kind: Some(kind),
        };
        let mut tx = self.database.app.begin().await.expect("connected");
        self.events.handle(&mut tx, event).await.expect("handled");
        tx.commit().await.expect("committed");
    }

    async fn status(&self, user_id: i64) -> Result<pb::Status, Refusal> {
        let request = Request::new(pb::GetStatusRequest { user_id });
        answer(self.api.get_status(request).await)
    }

    async fn set_session(
        &self,
        user_id: i64,
        is_online: bool,
        happened_at: DateTime<Utc>,
    ) -> Result<pb::Status, Refusal> {
        let request = pb::SetOnlineRequest {
            user_id,
            username: "told by auth".to_owned(),
            is_online,
            happened_at: Some(timestamp(happened_at)),
            ..pb::SetOnlineRequest::default()
        };
        answer(self.api.set_online(Request::new(request)).await)
    }

    async fn follow_sessions(&self, changes: Vec<pb::SessionChange>) -> Result<(), Refusal> {
        let request = Request::new(pb::FollowSessionsRequest { changes });
        answer(self.api.follow_sessions(request).await).map(|_| ())
    }

    async fn begin_call(&self, call_id: i64, user_ids: &[i64]) {
        let began = pb::CallBegan {
            wait_time: Some(30),
        };
        let change = call_change::Change::Began(began);
        self.follow(call_id, user_ids, change).await.expect("begun");
    }

    async fn end_call(&self, call_id: i64, user_ids: &[i64]) {
        let change = call_change::Change::Ended(pb::CallEnded {});
        self.follow(call_id, user_ids, change).await.expect("ended");
    }

    async fn follow(
        &self,
        call_id: i64,
        user_ids: &[i64],
        change: call_change::Change,
    ) -> Result<(), Refusal> {
        let change = pb::CallChange {
            call_id,
            user_ids: user_ids.to_vec(),
            change: Some(change),
            ..pb::CallChange::default()
        };
        let request = Request::new(pb::FollowCallsRequest {
            changes: vec![change],
        });
        answer(self.api.follow_calls(request).await).map(|_| ())
    }

    /// Logs a user out and ends this session.
    async fn end_session(&self, user_id: i64, session_id: &str) {
        let request = pb::SetOnlineRequest {
            user_id,
            is_online: false,
            happened_at: Some(timestamp(self.now())),
            ended_session_ids: vec![session_id.to_owned()],
            ..pb::SetOnlineRequest::default()
        };
        let ended = self.api.set_online(Request::new(request)).await;
        answer(ended).expect("ended");
    }

    /// Sends heartbeats of sessions, accepted by a gateway at these times; returns the unknown users.
    async fn send_heartbeats(&self, beats: &[(i64, &str, DateTime<Utc>)]) -> Vec<i64> {
        let request = pb::HeartbeatManyRequest {
            user_ids: beats.iter().map(|(user_id, ..)| *user_id).collect(),
            session_ids: beats
                .iter()
                .map(|(_, session_id, _)| (*session_id).to_owned())
                .collect(),
            accepted_at_micros: beats
                .iter()
                .map(|(.., accepted_at)| accepted_at.timestamp_micros())
                .collect(),
        };
        let stored = self.api.heartbeat_many(Request::new(request)).await;
        answer(stored).expect("stored").unknown_user_ids
    }

    /// Sends a heartbeat without session and time; returns the id of the user if it is unknown.
    async fn heartbeat(&self, user_id: i64) -> Result<Vec<i64>, Refusal> {
        let request = Request::new(pb::HeartbeatManyRequest {
            user_ids: vec![user_id],
            ..pb::HeartbeatManyRequest::default()
        });
        answer(self.api.heartbeat_many(request).await).map(|response| response.unknown_user_ids)
    }

    /// Returns the events of a user so far, as versions and statuses, oldest first.
    async fn published_events(&self, user_id: i64) -> Vec<(i64, StatusChanged)> {
        let payloads: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT payload FROM presence.outbox WHERE aggregate_id = $1 ORDER BY outbox_id",
        )
        .bind(user_id)
        .fetch_all(&self.database.app_pool)
        .await
        .expect("readable");
        payloads.iter().map(|payload| decoded(payload)).collect()
    }

    async fn published_versions(&self, user_id: i64) -> Vec<i64> {
        let events = self.published_events(user_id).await;
        events.into_iter().map(|(version, _)| version).collect()
    }
}

/// An error as a caller sees it: the gRPC code and our own.
#[derive(Debug, Eq, PartialEq)]
struct Refusal(tonic::Code, String);

fn refusal(code: tonic::Code, name: &str) -> Refusal {
    Refusal(code, name.to_owned())
}

fn answer<T>(result: Result<Response<T>, Status>) -> Result<T, Refusal> {
    result.map(Response::into_inner).map_err(|status| {
        let code = status.code();
        Refusal(code, Error::from(status).code().to_owned())
    })
}

fn decoded(payload: &[u8]) -> (i64, StatusChanged) {
    status_of(Event::decode(payload).expect("an event"))
}

fn status_of(event: Event) -> (i64, StatusChanged) {
    match event.kind {
        Some(Kind::StatusChanged(status)) => (event.version, status),
        other => panic!("presence publishes only statuses, not {other:?}"),
    }
}

fn registered(user_id: i64, username: &str) -> Kind {
    Kind::UserRegistered(UserRegistered {
        user_id,
        username: username.to_owned(),
        role: "user".to_owned(),
        ..UserRegistered::default()
    })
}
