//! NATS refuses a process every subject that is not declared for it. The cases are generated from the declarations.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use async_nats::HeaderMap;
use prost::Message as _;
use talktime_client::UserRole;
use talktime_kit::testing::{TlsStream, secure_stream};
use talktime_proto::access::{BUS_ACCESS, BUS_OPERATOR, BusAccess, inbox_prefix};
use talktime_proto::calls::{relay_cut_subject, seat_subject};
use talktime_proto::events::consumers::DurableConsumer;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, UserDeleted};
use talktime_proto::events::{EVENT_SUBJECTS, LIVE_PRESENCE_SUBJECT, STREAM_NAME};
use talktime_tests::{ExpectAnswer, WAIT_MAX, connect_app, connect_nats, read_variable, wait_for};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Requests that change or read the stream without a consumer, and with all consumers.
const STREAM_REQUESTS: [&str; 10] = [
    "STREAM.CREATE.EVENTS",
    "STREAM.UPDATE.EVENTS",
    "STREAM.DELETE.EVENTS",
    "STREAM.PURGE.EVENTS",
    "STREAM.MSG.GET.EVENTS",
    "STREAM.MSG.DELETE.EVENTS",
    "STREAM.CREATE.COPY",
    "STREAM.RESTORE.EVENTS",
    "STREAM.SNAPSHOT.EVENTS",
    "CONSUMER.LIST.EVENTS",
];
/// Requests about one consumer.
const CONSUMER_REQUESTS: [&str; 3] = ["CONSUMER.INFO", "CONSUMER.MSG.NEXT", "CONSUMER.DELETE"];

/// Opens a connection to NATS without TLS.
async fn open_plain_connection() -> TcpStream {
    let address: SocketAddr = nats_address().parse().expect("an address");
    TcpStream::connect(address).await.expect("NATS is up")
}

/// Returns host and port of NATS.
fn nats_address() -> String {
    let url = read_variable("NATS_URL");
    let (_, address) = url
        .split_once('@')
        .expect("tls://operator:password@host:port");
    address.to_owned()
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut line = Vec::new();
    let reading = timeout(WAIT_MAX, stream.read_until(b'\n', &mut line)).await;
    assert!(reading.expect("in time").expect("open") > 0, "closed");
    // The payload of a message need not be text.
    String::from_utf8_lossy(&line).into_owned()
}

/// A connection to NATS in its own protocol, in which the server answers each message that it refuses.
struct BusConnection(BufReader<TlsStream<TcpStream>>);

impl BusConnection {
    /// Logs in as a process.
    async fn log_in(access: &BusAccess) -> Self {
        let mut stream = BufReader::new(open_plain_connection().await);
        let greeting = read_line(&mut stream).await;
        assert!(greeting.starts_with("INFO "), "{greeting}");
        // The handshake follows the greeting, after which the server waits for it.
        let stream = secure_stream(stream.into_inner(), "NATS_CA_FILE").await;
        let mut connection = Self(BufReader::new(stream));
        let user = access.workload.name();
        let password = user.to_uppercase().replace('-', "_") + "_NATS_PASSWORD";
        let login = serde_json::json!({
            "verbose": false, "pedantic": false, "user": user, "pass": read_variable(&password),
        });
        connection.send(&format!("CONNECT {login}\r\n")).await;
        let refusals = connection.read_refusals().await;
        assert_eq!(refusals, BTreeSet::new(), "{user} logs in");
        connection
    }

    async fn send(&mut self, text: &str) {
        let sent = self.0.get_mut().write_all(text.as_bytes()).await;
        sent.expect("the connection is open");
        let flushed = self.0.get_mut().flush().await;
        flushed.expect("the connection is open");
    }

    async fn read_line(&mut self) -> String {
        read_line(&mut self.0).await
    }

    /// Publishes an empty message on each subject; returns the subjects that the server refuses.
    async fn publish_all(&mut self, subjects: &BTreeSet<String>) -> BTreeSet<String> {
        for subject in subjects {
            self.send(&format!("PUB {subject} 0\r\n\r\n")).await;
        }
        self.read_refusals().await
    }

    /// Subscribes to each subject; returns the subjects that the server refuses.
    async fn subscribe_all(&mut self, subjects: &BTreeSet<String>) -> BTreeSet<String> {
        for (id, subject) in subjects.iter().enumerate() {
            self.send(&format!("SUB {subject} {id}\r\n")).await;
        }
        self.read_refusals().await
    }

    /// Waits until the server has handled everything; returns the subjects of its refusals.
    async fn read_refusals(&mut self) -> BTreeSet<String> {
        self.send("PING\r\n").await;
        let mut refused = BTreeSet::new();
        loop {
            let line = self.read_line().await;
            match line.trim_end() {
                "PONG" => return refused,
                "PING" => self.send("PONG\r\n").await,
                line if line.starts_with("-ERR ") => {
                    assert!(line.contains("Permissions Violation"), "{line}");
                    let subject = line.split('"').nth(1).expect("it names the subject");
                    refused.insert(subject.to_owned());
                }
                // A message of others, whose payload is skipped the same way.
                _ => {}
            }
        }
    }
}

/// A subject for each pattern that processes publish, and the pattern.
fn published_subjects() -> Vec<(String, String)> {
    let events = EVENT_SUBJECTS.iter().map(|subject| {
        let context = subject.split('.').nth(1).expect("events.<context>.<name>");
        ((*subject).to_owned(), format!("events.{context}.>"))
    });
    let others = [
        (LIVE_PRESENCE_SUBJECT.to_owned(), LIVE_PRESENCE_SUBJECT),
        (seat_subject(1), "live.calls.seat.*"),
        (relay_cut_subject("relay.example"), "relay.cut.>"),
        ("anything.else".to_owned(), ""),
    ];
    let others = others.map(|(subject, pattern)| (subject, pattern.to_owned()));
    events.chain(others).collect()
}

/// Everything that would act for a consumer: its requests, its acknowledgement, and its creation for these events.
fn acts_for(consumer: DurableConsumer) -> Vec<String> {
    let DurableConsumer { name, filter } = consumer;
    let about = CONSUMER_REQUESTS.map(|request| format!("$JS.API.{request}.{STREAM_NAME}.{name}"));
    let mut acts = about.to_vec();
    acts.push(format!("$JS.ACK.{STREAM_NAME}.{name}.1.1.1.1.0"));
    acts.push(format!(
        "$JS.API.CONSUMER.CREATE.{STREAM_NAME}.{name}.{filter}"
    ));
    acts.push(format!(
        "$JS.API.CONSUMER.DURABLE.CREATE.{STREAM_NAME}.{name}"
    ));
    acts
}

/// Every subject that a process must not publish.
fn forbidden_to_publish(access: &BusAccess) -> BTreeSet<String> {
    let mut forbidden = BTreeSet::new();
    for (subject, pattern) in published_subjects() {
        if !access.publishes.contains(&pattern.as_str()) {
            forbidden.insert(subject);
        }
    }
    for other in BUS_ACCESS {
        let is_other = other.workload != access.workload;
        for consumer in other.consumers {
            if is_other {
                forbidden.extend(acts_for(*consumer));
            } else {
                let own = format!("$JS.API.CONSUMER.CREATE.{STREAM_NAME}.{}", consumer.name);
                // For events that were not declared for it, or in the form that names none.
                forbidden.extend([format!("{own}.events.wallet.earned"), own]);
            }
        }
        if is_other {
            forbidden.insert(format!("{}.x", inbox_prefix(other.workload.name())));
        }
    }
    forbidden.insert(format!("{}.x", inbox_prefix(BUS_OPERATOR)));
    forbidden.extend(STREAM_REQUESTS.map(|request| format!("$JS.API.{request}")));
    forbidden
}

/// Every subject that others read or that carries events, and each process's own.
fn subscribed_subjects() -> BTreeSet<String> {
    let mut subjects: BTreeSet<String> = EVENT_SUBJECTS.map(str::to_owned).into();
    for access in BUS_ACCESS {
        subjects.extend(
            access
                .subscribes
                .iter()
                .map(|subject| (*subject).to_owned()),
        );
        subjects.insert(format!("{}.>", inbox_prefix(access.workload.name())));
    }
    let inbox = inbox_prefix(BUS_OPERATOR);
    let others = [
        "events.>",
        "_INBOX.>",
        ">",
        "$JS.API.>",
        "$JS.ACK.>",
        "$SYS.>",
    ];
    subjects.extend(others.map(str::to_owned));
    subjects.insert(format!("{inbox}.>"));
    subjects
}

#[tokio::test]
async fn every_process_publishes_and_reads_what_is_declared_for_it_and_nothing_else() {
    let mut refusals = 0;
    for access in BUS_ACCESS {
        let process = access.workload.name();
        let mut connection = BusConnection::log_in(&access).await;
        let forbidden = forbidden_to_publish(&access);
        assert_eq!(
            connection.publish_all(&forbidden).await,
            forbidden,
            "{process}"
        );
        refusals += forbidden.len();

        let declared = access
            .subscribes
            .iter()
            .map(|subject| (*subject).to_owned());
        let inbox = format!("{}.>", inbox_prefix(process));
        let declared: BTreeSet<String> = declared.chain([inbox]).collect();
        let subjects = subscribed_subjects();
        let forbidden: BTreeSet<String> = subjects.difference(&declared).cloned().collect();
        assert_eq!(
            connection.subscribe_all(&subjects).await,
            forbidden,
            "{process}"
        );
        refusals += forbidden.len();
    }
    assert!(refusals > 800, "{refusals} refusals");
}

#[tokio::test]
async fn nobody_logs_in_without_a_password() {
    let authority = PathBuf::from(read_variable("NATS_CA_FILE"));
    for (user, password) in [("", ""), ("auth", "wrong"), ("operator", "")] {
        let options = async_nats::ConnectOptions::new().add_root_certificates(authority.clone());
        let options = options.user_and_password(user.to_owned(), password.to_owned());
        let refused = options.connect(format!("tls://{}", nats_address())).await;
        let refusal = refused.expect_err("no password").to_string();
        assert!(
            refusal.to_lowercase().contains("authorization"),
            "{user}: {refusal}"
        );
    }
}

#[tokio::test]
async fn nats_takes_no_password_in_clear() {
    let mut stream = BufReader::new(open_plain_connection().await);
    read_line(&mut stream).await;
    let password = read_variable("AUTH_NATS_PASSWORD");
    let login = serde_json::json!({"verbose": true, "user": "auth", "pass": password});
    let login = format!("CONNECT {login}\r\nPING\r\n");
    let sent = stream.get_mut().write_all(login.as_bytes()).await;
    sent.expect("the connection is open");
    let mut answer = Vec::new();
    // The server closes the connection, in one way or the other.
    let ended = timeout(WAIT_MAX, stream.read_to_end(&mut answer)).await;
    let _closed = ended.expect("closed in time");
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        !answer.contains("+OK") && !answer.contains("PONG"),
        "{answer}"
    );
}

/// Returns how many events of calls presence has refused.
async fn count_refused_events() -> f64 {
    let presence = read_variable("PRESENCE_OPS_URL");
    talktime_tests::replica::read_metric(&presence, "events_refused_total", "\"presence-calls\"")
        .await
}

#[tokio::test]
async fn an_event_of_profile_that_calls_publishes_has_no_effect() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let refused_before = count_refused_events().await;
    let forged = Event {
        version: i64::MAX,
        happened_at: None,
        kind: Some(Kind::UserDeleted(UserDeleted {
            user_id: person.user_id,
            ..UserDeleted::default()
        })),
    };
    let nats = connect_nats().await;
    let mut headers = HeaderMap::new();
    headers.insert("ce-source", "/talktime/calls");
    let payload = forged.encode_to_vec().into();
    let published = nats
        .publish_with_headers("events.calls.call_rated", headers, payload)
        .await;
    published.expect("published");
    nats.flush().await.expect("flushed");
    wait_for("the refusal", || async {
        (count_refused_events().await > refused_before).then_some(())
    })
    .await;
    let status = app.get("/users/me/status").as_user(&person).answer().await;
    assert_eq!(status.status, 200, "the user is still known: {status:?}");
}
