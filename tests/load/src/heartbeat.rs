//! Signs of life beside pgbench updating one row a commit.

use std::time::SystemTime;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use sqlx::Executor;
use talktime_client::{AppUser, UserRole};
use talktime_proto::presence::v1::SetOnlineRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use tonic::transport::Channel;

use crate::Pace;
use crate::driver::{self, Worker};
use crate::http::Connection;
use crate::people;
use crate::pgbench::Pgbench;
use crate::report::{Line, Report};
use crate::socket::Socket;
use crate::stack::Stack;

/// As many as pgbench has rows.
const PEOPLE: i64 = 10_000;
/// Far above the ids that registration gives.
const FIRST: i64 = 1_000_000_000;
const SETUP_AT_A_TIME: usize = 64;
/// People with phones, each with a connection of its own.
const PHONES: usize = 256;
/// All that one has, so that pings are not the sockets' limit.
const SOCKETS_A_PERSON: usize = 4;
/// Far below the contract's 30: who is behind catches up without becoming a flood.
const PINGS_A_SECOND: f64 = 10.0;

pub(crate) async fn bench(stack: &Stack, pace: Pace) -> anyhow::Result<()> {
    let database = stack.database().await?;
    database
        .execute(include_str!("../pgbench/heartbeat_tables.sql"))
        .await?;
    put_online(&PresenceServiceClient::new(stack.grpc("presence").await?)).await?;
    let mut phones = Vec::new();
    let mut pingers = Vec::new();
    for person in people::sign_up(stack, UserRole::User, PHONES).await? {
        phones.push(Phone::new(stack, &person).await?);
        for _ in 0..SOCKETS_A_PERSON {
            pingers.push(Pinger::new(stack, &person).await?);
        }
    }
    let pings = pingers.len() as f64 * PINGS_A_SECOND;
    let pgbench = Pgbench::new(stack, include_str!("../pgbench/heartbeat.sql"))?;
    let mut opponent = Line::new("pgbench, one row a commit");
    let mut rest = Line::new(&format!("POST /users/me/heartbeat, {PHONES} at a time"));
    let mut sockets = Line::new(&format!("pings on {} open sockets", pingers.len()));
    for _ in 0..pace.rounds {
        opponent.rate(pgbench.run(pace.clients, pace.duration()).await?);
        rest.add(&driver::flat_out(&mut phones, pace.duration()).await?);
        sockets.add(&driver::at_rate(&mut pingers, pace.duration(), pings).await?);
    }
    let title = "Heartbeats, answered after their commit; pings before it";
    println!("{}", Report::new(title, vec![opponent, rest, sockets]));
    Ok(())
}

async fn put_online(presence: &PresenceServiceClient<Channel>) -> anyhow::Result<()> {
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

/// Somebody's open socket.
struct Pinger {
    socket: Socket,
}

impl Pinger {
    async fn new(stack: &Stack, person: &AppUser) -> anyhow::Result<Self> {
        let token = &person.access_token;
        let socket = Socket::open(&stack.gateway_url, "/ws/notifications", token).await?;
        Ok(Self { socket })
    }
}

impl Worker for Pinger {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        self.socket.send(r#"{"type":"ping"}"#).await?;
        while !self.socket.next().await?.contains("\"pong\"") {}
        Ok(1)
    }
}

/// Somebody's app.
struct Phone {
    connection: Connection,
}

impl Phone {
    async fn new(stack: &Stack, person: &AppUser) -> anyhow::Result<Self> {
        let connection = Connection::open(&stack.gateway_url, &person.access_token).await?;
        Ok(Self { connection })
    }
}

impl Worker for Phone {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        let path = "/users/me/heartbeat";
        self.connection.must(Method::POST, path, None, None).await?;
        Ok(1)
    }
}
