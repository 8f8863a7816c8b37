//! Events between services: an outbox in the business transaction, a relay to JetStream, and
//! consumers whose effect and inbox row share a transaction.
//!
//! Postgres is the source of truth, and NATS only transports. While NATS is down, events stay in the outbox; a lost
//! stream is filled again from it (`republish`). Each process logs in to NATS as itself, and may publish and read
//! what `talktime_proto::access::BUS_ACCESS` declares for it.

pub mod consumer;
pub mod dead_letters;
mod message;
mod origin;
pub mod outbox;
mod purge;
pub(crate) mod relay;

use std::time::Duration;

use anyhow::Context;
use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use secrecy::ExposeSecret;
use talktime_proto::access::{BUS_OPERATOR, inbox_prefix};
use talktime_proto::events::{STREAM_NAME, STREAM_SUBJECTS};
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::NatsConfig;
use crate::deadlines::{NATS_CONNECT, NATS_PING, NATS_REQUEST, PeerKind, await_answer};
use crate::store_authority::read_authority_file;

pub use consumer::{EventHandler, ReceivedEvent};
pub use message::DeliveredMessage;
pub use origin::{ForeignEvent, check_origin, register_refusals};
pub use purge::start_purge;
pub use relay::{EventSource, Relay};

/// The event's identity over all its deliveries (`CloudEvents` `id`): `wallet-1234`.
pub const HEADER_ID: &str = "ce-id";
const HEADER_SPECVERSION: &str = "ce-specversion";
const HEADER_TYPE: &str = "ce-type";
/// The service that the event says it is of (`CloudEvents` `source`): `/talktime/wallet`.
pub const HEADER_SOURCE: &str = "ce-source";
pub(crate) const HEADER_TIME: &str = "ce-time";
/// The id of the event's aggregate (`CloudEvents` `subject`). The replay of a dead letter has none.
pub const HEADER_SUBJECT: &str = "ce-subject";
const HEADER_DATA_CONTENT_TYPE: &str = "content-type";

/// How long NATS may take to accept the connection of a command for operators, over all of its servers.
const OPERATOR_CONNECT: Duration = Duration::from_secs(10);
/// JetStream keeps events this long; the outbox keeps them longer.
pub(crate) const STREAM_AGE_MAX: Duration = Duration::from_hours(3 * 24);
const STREAM_BYTES_MAX: i64 = 8 * 1024 * 1024 * 1024;
/// JetStream drops a second message with the same `Nats-Msg-Id` within this time.
const STREAM_DEDUPLICATION_WINDOW: Duration = Duration::from_mins(2);

/// Returns a NATS client of a user, which connects in the background and reconnects indefinitely.
///
/// # Errors
/// The URL is invalid, or the file with the authorities cannot be read.
pub async fn connect(config: &NatsConfig, user: &str) -> anyhow::Result<async_nats::Client> {
    let options = client_options(config, user)?.retry_on_initial_connect();
    Ok(options.connect(server_addresses(config)).await?)
}

/// Connects as the operator, who may do everything, and waits for the connection.
///
/// # Errors
/// NATS does not answer in time, or the password is not that of the operator; or the file with the authorities cannot be
/// read.
pub async fn connect_as_operator(config: &NatsConfig) -> anyhow::Result<async_nats::Client> {
    let connecting = client_options(config, BUS_OPERATOR)?.connect(server_addresses(config));
    let connecting = Box::pin(connecting);
    let connected = await_answer(PeerKind::Nats, OPERATOR_CONNECT, connecting).await?;
    connected.context("logging in to NATS as its operator, whose password NATS__PASSWORD must be")
}

fn server_addresses(config: &NatsConfig) -> Vec<&str> {
    config.addresses().collect()
}

fn client_options(config: &NatsConfig, user: &str) -> anyhow::Result<async_nats::ConnectOptions> {
    let password = config.password.expose_secret().to_owned();
    let options = async_nats::ConnectOptions::new()
        .user_and_password(user.to_owned(), password)
        .custom_inbox_prefix(inbox_prefix(user))
        .connection_timeout(NATS_CONNECT)
        .request_timeout(Some(NATS_REQUEST))
        .ping_interval(NATS_PING)
        // All servers are configured, and the greeting that names others comes before the handshake.
        .ignore_discovered_servers()
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis((50 * attempts as u64).min(1_000))
        });
    verify_servers(options, config)
}

/// Requires TLS if the addresses do. The greeting of a server, which comes before the handshake, then cannot lead the
/// client to another server in clear, and the password is sent after the certificate was verified.
fn verify_servers(
    options: async_nats::ConnectOptions,
    config: &NatsConfig,
) -> anyhow::Result<async_nats::ConnectOptions> {
    if !config.is_encrypted() {
        return Ok(options);
    }
    let options = options.require_tls(true);
    let Some(file) = &config.ca_file else {
        return Ok(options);
    };
    // The client reads the file for each connection, and would try for ever with one that it cannot read.
    read_authority_file(file).context("nats.ca_file")?;
    Ok(options.add_root_certificates(file.clone()))
}

/// Returns a JetStream context whose requests and acknowledgements have a deadline.
pub fn open_jetstream(nats: async_nats::Client) -> jetstream::Context {
    jetstream::ContextBuilder::new()
        .timeout(NATS_REQUEST)
        .ack_timeout(NATS_REQUEST)
        .build(nats)
}

/// Creates the stream of all events on a single server if it is missing. Only operators may do so.
///
/// # Errors
/// JetStream does not answer in time, or the user is no operator.
pub async fn ensure_stream(jetstream: &jetstream::Context) -> anyhow::Result<stream::Stream> {
    Ok(jetstream
        .get_or_create_stream(stream::Config {
            name: STREAM_NAME.to_owned(),
            subjects: vec![STREAM_SUBJECTS.to_owned()],
            max_age: STREAM_AGE_MAX,
            max_bytes: STREAM_BYTES_MAX,
            duplicate_window: STREAM_DEDUPLICATION_WINDOW,
            ..stream::Config::default()
        })
        .await?)
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.as_str().to_owned())
}

/// Returns an interval whose tick completes at once if the last one is at least `every` ago.
fn pacing_interval(every: Duration) -> Interval {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
