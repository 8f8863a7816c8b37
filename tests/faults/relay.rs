//! The media relay and its agent: who may use it, what it reaches, that its traffic is counted to the packet, and
//! that calls can end it. Traffic comes from coturn's own test client.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message as _;
use sqlx::PgPool;
use talktime_kit::config::RedisConfig;
use talktime_kit::redis;
use talktime_kit::redis::SubscriberClient;
use talktime_kit::redis::commands::{EventInterface, PubsubInterface};
use talktime_proto::calls::relay_cut_subject;
use talktime_proto::calls::v1::RelayCut;
use talktime_tests::{CallPair, connect_nats, read_variable, run_dev, wait_for};
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};

use crate::lock_stack;

/// Packets of each of the two clients, far more than any test waits for.
const PACKETS_ENDLESS: u32 = 100_000;
/// A relay stops a session at once, and the agent reports twice a second.
const CUT_WITHIN: Duration = Duration::from_secs(1);
/// Life of a credential.
pub(crate) const LIFE_SECS: i64 = 120;

/// A user name and password of the relay.
pub(crate) struct RelayCredential {
    pub(crate) username: String,
    pub(crate) password: String,
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("small")
}

fn sign_credential(call_id: i64, expires_in_secs: i64) -> RelayCredential {
    let secret = std::fs::read_to_string(read_variable("TURN_SECRET_FILE")).expect("a secret");
    sign_credential_with(secret.trim(), call_id, expires_in_secs)
}

/// Signs a credential with any secret.
pub(crate) fn sign_credential_with(
    secret: &str,
    call_id: i64,
    expires_in_secs: i64,
) -> RelayCredential {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let expires_at = now_secs() + expires_in_secs;
    let username = format!("{expires_at}:{call_id}.caller.1");
    let tag = hmac::sign(&key, username.as_bytes());
    RelayCredential {
        password: BASE64_STANDARD.encode(tag),
        username,
    }
}

fn client_command(credential: &RelayCredential, options: &[&str]) -> Command {
    let url = read_variable("COTURN_URL");
    let port = url
        .split([':', '?'])
        .nth(2)
        .expect("turn:host:port?transport=udp");
    let mut command = Command::new("turnutils_uclient");
    command
        .args(["-c", "-l", "160", "-p", port])
        .args(["-u", &credential.username, "-w", &credential.password])
        .args(options)
        .arg("127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Two clients that send each other 250 packets a second.
fn start_traffic(credential: &RelayCredential, packets: u32) -> Child {
    let packets = packets.to_string();
    let options = ["-y", "-m", "2", "-z", "4", "-n", &packets];
    let mut command = client_command(credential, &options);
    command.spawn().expect("coturn's client is installed")
}

/// Sums over the allocations of a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct CallTraffic {
    in_packets: i64,
    out_packets: i64,
    in_bytes: i64,
    out_bytes: i64,
}

/// The row of a call.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct StoredTraffic {
    allocations: i64,
    live: i64,
    in_packets: i64,
    out_packets: i64,
    in_bytes: i64,
    out_bytes: i64,
}

impl StoredTraffic {
    fn traffic(self) -> CallTraffic {
        CallTraffic {
            in_packets: self.in_packets,
            out_packets: self.out_packets,
            in_bytes: self.in_bytes,
            out_bytes: self.out_bytes,
        }
    }
}

/// The database of calls, and what coturn says itself about the end of each allocation.
struct RelayWitness {
    db: PgPool,
    statistics: SubscriberClient,
}

impl RelayWitness {
    async fn start() -> Self {
        let db = PgPool::connect(&read_variable("DATABASE_URL"))
            .await
            .expect("Postgres is up");
        let url = read_variable("COTURN_REDIS_URL").into();
        let beside_coturn = RedisConfig { url, ca_file: None };
        let statistics = redis::subscriber(&beside_coturn).expect("a valid address");
        // Renews the subscription after a lost connection.
        let _renewal = statistics.manage_subscriptions();
        wait_for("a subscription", || async {
            statistics
                .psubscribe("turn/realm/*/total_traffic")
                .await
                .ok()
        })
        .await;
        Self { db, statistics }
    }

    async fn load_traffic(&self, call_id: i64) -> StoredTraffic {
        sqlx::query_as(
            "SELECT count(*) AS allocations, count(*) FILTER (WHERE ended_at IS NULL) AS live,
                    COALESCE(sum(in_packets), 0)::bigint AS in_packets,
                    COALESCE(sum(out_packets), 0)::bigint AS out_packets,
                    COALESCE(sum(in_bytes), 0)::bigint AS in_bytes,
                    COALESCE(sum(out_bytes), 0)::bigint AS out_bytes
             FROM calls.relay_allocations WHERE call_id = $1",
        )
        .bind(call_id)
        .fetch_one(&self.db)
        .await
        .expect("read")
    }

    /// Loads how long ago the agent reported the first relay.
    async fn load_silence_secs(&self) -> f64 {
        sqlx::query_scalar(
            "SELECT extract(epoch FROM now() - reported_at)::float8 FROM calls.relay_nodes
             WHERE realm = $1",
        )
        .bind(read_variable("COTURN_REALM"))
        .fetch_one(&self.db)
        .await
        .expect("read")
    }

    /// Waits until calls knows of traffic that relays have carried so far.
    async fn wait_for_traffic(&self, call_id: i64) -> StoredTraffic {
        wait_for("counted traffic", || async {
            let stored = self.load_traffic(call_id).await;
            (stored.live >= 2 && stored.in_packets > 1_000).then_some(stored)
        })
        .await
    }

    /// Waits until all allocations of a call have ended.
    async fn wait_for_end(&self, call_id: i64) -> StoredTraffic {
        wait_for("the end of all allocations", || async {
            let stored = self.load_traffic(call_id).await;
            (stored.allocations > 0 && stored.live == 0).then_some(stored)
        })
        .await
    }
}

/// Orders the first relay to end the sessions of the caller, as calls does.
async fn publish_cut(call_id: i64) {
    let nats = connect_nats().await;
    let cut = RelayCut {
        usernames: vec![format!("{call_id}.caller.1")],
    };
    let subject = relay_cut_subject(&read_variable("COTURN_REALM"));
    let order = cut.encode_to_vec().into();
    nats.publish(subject, order).await.expect("published");
    nats.flush().await.expect("flushed");
}

/// Sums what coturn published at the end of so many allocations of a call.
async fn sum_totals(
    messages: &mut tokio::sync::broadcast::Receiver<redis::Message>,
    call_id: i64,
    allocations: i64,
) -> CallTraffic {
    let mut sum = CallTraffic::default();
    for _ in 0..allocations {
        let payload = loop {
            let received = tokio::time::timeout(Duration::from_secs(5), messages.recv()).await;
            let message = received.expect("a total of each").expect("a message");
            if message.channel.contains(&format!(":{call_id}.caller.1/")) {
                break message.value.as_string().expect("text");
            }
        };
        let numbers: Vec<i64> = payload
            .split(", ")
            .map(|field| field.split_once('=').expect("name=number").1)
            .map(|number| number.parse().expect("a number"))
            .collect();
        sum.in_packets += numbers[0];
        sum.in_bytes += numbers[1];
        sum.out_packets += numbers[2];
        sum.out_bytes += numbers[3];
    }
    sum
}

#[tokio::test]
async fn the_traffic_of_a_call_is_counted_to_the_packet_and_stops_when_it_is_cut() {
    let _stack = lock_stack().await;
    let witness = RelayWitness::start().await;
    let mut totals = witness.statistics.message_rx();
    let call_id = CallPair::sign_up().await.start_call().await;
    let credential = sign_credential(call_id, LIFE_SECS);
    let _traffic = start_traffic(&credential, PACKETS_ENDLESS);
    witness.wait_for_traffic(call_id).await;

    let cut_at = Instant::now();
    publish_cut(call_id).await;
    let first = tokio::time::timeout(CUT_WITHIN, totals.recv()).await;
    assert!(first.is_ok(), "media goes on {:?} later", cut_at.elapsed());

    let mut totals = totals.resubscribe();
    let stored = witness.wait_for_end(call_id).await;
    // A client that is still there does not get a new session for the seat that has ended.
    let _again = start_traffic(&credential, PACKETS_ENDLESS);
    let received = tokio::time::timeout(Duration::from_secs(5), totals.recv()).await;
    assert!(received.is_ok(), "a new session of an ended seat lives on");
    assert!(stored.in_packets > 1_000, "{stored:?}");
}

#[tokio::test]
async fn an_agent_that_was_killed_cuts_ended_calls_and_knows_exact_totals() {
    let _stack = lock_stack().await;
    let witness = RelayWitness::start().await;
    let mut totals = witness.statistics.message_rx();
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let _traffic = start_traffic(&sign_credential(call_id, LIFE_SECS), PACKETS_ENDLESS);
    let before = witness.wait_for_traffic(call_id).await;

    run_dev(&["kill", "relay-agent"]).await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    run_dev(&["start", "relay-agent"]).await;

    let stored = witness.wait_for_end(call_id).await;
    let exact = sum_totals(&mut totals, call_id, stored.allocations).await;
    assert_eq!(stored.traffic(), exact);
    assert!(stored.in_packets > before.in_packets, "{stored:?}");
}

#[tokio::test]
async fn a_lost_redis_costs_no_packet() {
    let _stack = lock_stack().await;
    let call_id = CallPair::sign_up().await.start_call().await;
    let witness = RelayWitness::start().await;
    let _traffic = start_traffic(&sign_credential(call_id, LIFE_SECS), PACKETS_ENDLESS);
    let before = witness.wait_for_traffic(call_id).await;
    run_dev(&["kill", "relay-redis"]).await;
    run_dev(&["start", "relay-redis"]).await;
    let mut totals = witness.statistics.message_rx();
    // coturn and the agent are connected again, and lists go on meanwhile.
    wait_for("further traffic", || async {
        let stored = witness.load_traffic(call_id).await;
        (stored.in_packets > before.in_packets + 2_000).then_some(())
    })
    .await;
    publish_cut(call_id).await;
    let stored = witness.wait_for_end(call_id).await;
    let exact = sum_totals(&mut totals, call_id, stored.allocations).await;
    assert_eq!(stored.traffic(), exact);
}

#[tokio::test]
async fn nobody_gets_a_session_with_an_expired_or_invented_credential() {
    let _stack = lock_stack().await;
    let call_id = CallPair::sign_up().await.start_call().await;
    let mut invented = sign_credential(call_id, LIFE_SECS);
    invented.password = sign_credential(call_id + 1, LIFE_SECS).password;
    for credential in [sign_credential(call_id, -5), invented] {
        let client = client_command(&credential, &["-y", "-m", "2", "-n", "5"]).status();
        let ended = tokio::time::timeout(Duration::from_secs(10), client).await;
        let status = ended.expect("refused at once").expect("it runs");
        assert!(!status.success(), "{}", credential.username);
    }
    let witness = RelayWitness::start().await;
    assert_eq!(witness.load_traffic(call_id).await.allocations, 0);
}

#[tokio::test]
async fn a_relay_reaches_no_address_but_its_own() {
    let _stack = lock_stack().await;
    let call_id = CallPair::sign_up().await.start_call().await;
    let credential = sign_credential(call_id, LIFE_SECS);
    let outside = UdpSocket::bind("127.0.0.2:0").await.expect("an address");
    let port = outside.local_addr().expect("bound").port().to_string();
    let options = ["-e", "127.0.0.2", "-r", &port, "-n", "5"];
    let client = client_command(&credential, &options).status();
    let ended = tokio::time::timeout(Duration::from_secs(10), client).await;
    let status = ended.expect("refused at once").expect("it runs");
    assert!(!status.success(), "the relay takes an outside peer");
    let received = outside.try_recv(&mut [0; 1_500]);
    assert!(received.is_err(), "the relay has sent something outside");
}

#[tokio::test]
async fn a_relay_that_is_down_is_not_reported_and_its_sessions_have_ended() {
    let _stack = lock_stack().await;
    let witness = RelayWitness::start().await;
    let call_id = CallPair::sign_up().await.start_call().await;
    let _traffic = start_traffic(&sign_credential(call_id, LIFE_SECS), PACKETS_ENDLESS);
    let before = witness.wait_for_traffic(call_id).await;

    run_dev(&["kill", "coturn"]).await;
    wait_for("silence about the relay", || async {
        (witness.load_silence_secs().await > 8.0).then_some(())
    })
    .await;
    run_dev(&["start", "coturn"]).await;
    wait_for("a report of the relay", || async {
        (witness.load_silence_secs().await < 5.0).then_some(())
    })
    .await;
    let stored = witness.wait_for_end(call_id).await;
    assert!(stored.in_packets >= before.in_packets, "{stored:?}");
}
