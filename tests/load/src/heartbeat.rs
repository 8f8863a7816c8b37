//! Heartbeats, compared with pgbench updating one row a commit.

use std::time::SystemTime;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use sqlx::Executor;
use talktime_client::{AppUser, UserRole};
use talktime_proto::access::v1::Workload;
use talktime_proto::presence::v1::SetOnlineRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::driver::{self, LoadWorker};
use crate::http::HttpConnection;
use crate::people;
use crate::pgbench::PgbenchScript;
use crate::report::{RateReport, ReportLine};
use crate::socket::LoadSocket;
use crate::stack::BenchStack;

/// Number of users, as many as pgbench has rows.
const PEOPLE: i64 = 10_000;
/// First user id, far above those of registered users.
const FIRST: i64 = 1_000_000_000;
const SETUP_AT_A_TIME: usize = 64;
/// Users with a connection of their own.
pub(crate) const PHONES: usize = 256;
/// Sockets of each user.
const SOCKETS_A_PERSON: usize = 4;
/// Rate of each socket, far below the limit of 30 in the contract, so that late pings stay within it.
const PINGS_A_SECOND: f64 = 10.0;

pub(crate) async fn run_bench(stack: &BenchStack, pace: LoadSettings) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    database
        .execute(include_str!("../pgbench/heartbeat_tables.sql"))
        .await?;
    let channel = stack
        .connect_grpc(Workload::Auth, Workload::Presence)
        .await?;
    mark_online(&PresenceServiceClient::new(channel)).await?;
    let mut phones = Vec::new();
    let mut pingers = Vec::new();
    for person in people::sign_up(stack, UserRole::User, PHONES).await? {
        phones.push(HeartbeatPhoneClient::new(stack, &person).await?);
        for _ in 0..SOCKETS_A_PERSON {
            pingers.push(PingWorker::new(stack, &person).await?);
        }
    }
    let pings = pingers.len() as f64 * PINGS_A_SECOND;
    let pgbench = PgbenchScript::new(stack, include_str!("../pgbench/heartbeat.sql"))?;
    let mut reference = ReportLine::new("pgbench, one row a commit");
    let mut rest = ReportLine::new(&format!("POST /users/me/heartbeat, {PHONES} at a time"));
    let mut sockets = ReportLine::new(&format!("pings on {} open sockets", pingers.len()));
    for _ in 0..pace.rounds {
        reference.add_rate(pgbench.run(pace.clients, pace.duration()).await?);
        rest.add_round(&driver::run_flat_out(&mut phones, pace.duration()).await?);
        sockets.add_round(&driver::run_at_rate(&mut pingers, pace.duration(), pings).await?);
    }
    let title = "Heartbeats, answered after their commit; pings before it";
    RateReport::new(title, vec![reference, rest, sockets]).publish()
}

async fn mark_online(presence: &PresenceServiceClient<Channel>) -> anyhow::Result<()> {
    stream::iter(FIRST..FIRST + PEOPLE)
        .map(|user_id| {
            let mut presence = presence.clone();
            async move {
                let request = SetOnlineRequest {
                    user_id,
                    username: format!("bench_{user_id}"),
                    is_online: true,
                    happened_at: Some(SystemTime::now().into()),
                    ..SetOnlineRequest::default()
                };
                presence.set_online(request).await
            }
        })
        .buffer_unordered(SETUP_AT_A_TIME)
        .try_for_each(|_| async { Ok(()) })
        .await
        .context("putting people online")
}

/// An open socket that sends pings.
struct PingWorker {
    socket: LoadSocket,
}

impl PingWorker {
    async fn new(stack: &BenchStack, person: &AppUser) -> anyhow::Result<Self> {
        let token = &person.access_token;
        let socket = LoadSocket::open(&stack.gateway_url, "/ws/notifications", token).await?;
        Ok(Self { socket })
    }
}

impl LoadWorker for PingWorker {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.socket.send(r#"{"type":"ping"}"#).await?;
        while !self.socket.receive().await?.contains("\"pong\"") {}
        Ok(1)
    }
}

/// An app that sends heartbeats.
pub(crate) struct HeartbeatPhoneClient {
    connection: HttpConnection,
}

impl HeartbeatPhoneClient {
    pub(crate) async fn new(stack: &BenchStack, person: &AppUser) -> anyhow::Result<Self> {
        let connection = HttpConnection::open(&stack.gateway_url, &person.access_token).await?;
        Ok(Self { connection })
    }
}

impl LoadWorker for HeartbeatPhoneClient {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let path = "/users/me/heartbeat";
        self.connection
            .request_ok(Method::POST, path, None, None)
            .await?;
        Ok(1)
    }
}
