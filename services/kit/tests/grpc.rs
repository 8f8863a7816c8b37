//! gRPC between two processes' worth of kit: deadlines, traces, errors, health.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    SERVICE_NAME, TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use talktime_kit::grpc::UserGuard;
use talktime_kit::grpc::client::{self, PeerChannel};
use talktime_kit::grpc::server::{self, ServerParts, refuse};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::testing::{SilentProxy, TestAuthority};
use talktime_kit::tokens::SigningKeys;
use talktime_kit::{Clock, Error, ErrorKind, grpc};
use talktime_proto::access::v1::Workload;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::DropGuard;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The kind of answer that is requested, as the number of (empty) spans in the request.
const ANSWERS: usize = 0;
const HANGS: usize = 1;
const REFUSES: usize = 2;
const ANSWERS_AT_LENGTH: usize = 3;
/// Longer than what h2 copies to the frames before it.
const LONG_TEXT_BYTES: usize = 300;

/// A service of one method, such as any collector of traces has, that behaves as the number of spans requests.
struct ScriptedService;

#[tonic::async_trait]
impl TraceService for ScriptedService {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        match request.into_inner().resource_spans.len() {
            HANGS => std::future::pending().await,
            REFUSES => Err(refuse(Error::invalid(
                "refused_on_request",
                "The test requests a refusal.",
            ))),
            ANSWERS_AT_LENGTH => Ok(Response::new(ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    error_message: "x".repeat(LONG_TEXT_BYTES),
                    ..ExportTracePartialSuccess::default()
                }),
            })),
            _ => {
                let left = grpc::time_left().expect("every request has a deadline");
                let time_left = ExportTracePartialSuccess {
                    rejected_spans: i64::try_from(left.as_millis()).expect("short"),
                    ..ExportTracePartialSuccess::default()
                };
                Ok(Response::new(ExportTraceServiceResponse {
                    partial_success: Some(time_left),
                }))
            }
        }
    }
}

async fn free_address() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    listener.local_addr().expect("bound")
}

/// The authority of all identities of this file's tests, but for strangers.
static AUTHORITY: LazyLock<TestAuthority> = LazyLock::new(TestAuthority::default);

/// The server is the wallet, and the gateway may call everything it serves.
fn find_callers(_path: &str) -> &'static [Workload] {
    &[Workload::Gateway]
}

fn server_at(listen: SocketAddr) -> ServerParts {
    ServerParts {
        listen,
        identity: AUTHORITY.identify(Workload::Wallet),
        find_callers,
        users: UserGuard::of_auth(SigningKeys::without_auth(), true, Clock::System),
        serves_reflection: false,
    }
}

/// Returns a channel of the gateway to the wallet behind these addresses.
fn connect(urls: &str) -> PeerChannel {
    let gateway = AUTHORITY.connector(Workload::Gateway);
    gateway.connect(Workload::Wallet, urls).expect("valid")
}

/// Starts a server; returns a channel to it, and a guard that stops it when it is dropped.
async fn serve() -> (PeerChannel, DropGuard) {
    let address = free_address().await;
    let stop = serve_until_dropped(address);
    let channel = connect(&format!("https://localhost:{}", address.port()));
    (channel, stop)
}

fn serve_until_dropped(address: SocketAddr) -> DropGuard {
    let lifecycle = ProcessLifecycle::default();
    let stop = lifecycle.stopping().drop_guard();
    tokio::spawn(async move {
        let routes = Routes::new(TraceServiceServer::new(ScriptedService));
        server::serve(server_at(address), routes, &[SERVICE_NAME], &lifecycle)
            .await
            .expect("serves");
    });
    stop
}

/// Calls the service and returns the time that it had left, in milliseconds.
async fn call(channel: &PeerChannel, behavior: usize) -> Result<i64, Error> {
    let client = TraceServiceClient::new(channel.clone());
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans::default(); behavior],
    };
    let answer = client::retry_idempotent(&client, TraceServiceClient::export, request).await?;
    Ok(answer
        .partial_success
        .expect("the time left")
        .rejected_spans)
}

fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

#[tokio::test]
async fn a_peer_learns_how_long_its_caller_waits() {
    let (channel, _stop) = serve().await;
    call(&channel, ANSWERS).await.expect("connected");
    let left_ms = grpc::with_deadline(
        deadline_after(Duration::from_millis(700)),
        call(&channel, ANSWERS),
    )
    .await;
    let left_ms = left_ms.expect("answered");
    assert!((1..=700).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn a_peer_that_hangs_costs_no_more_than_the_deadline() {
    let (channel, _stop) = serve().await;
    call(&channel, ANSWERS).await.expect("connected");
    let started = Instant::now();
    let hanging_call = grpc::with_deadline(
        deadline_after(Duration::from_millis(300)),
        call(&channel, HANGS),
    );
    let error = hanging_call.await.expect_err("no answer ever comes");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.is_outcome_unknown());
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_request_to_an_absent_peer_fails_at_once() {
    let address = free_address().await;
    let channel = connect(&format!("https://{address}"));
    let started = Instant::now();
    let error = call(&channel, ANSWERS).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

/// Calls until the circuit is open, which shows in answers without a delay.
async fn wait_until_not_called(channel: &PeerChannel) {
    let deadline = deadline_after(Duration::from_secs(10));
    loop {
        let started = Instant::now();
        let error = call(channel, ANSWERS).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        // Less than the first pause between retries.
        if started.elapsed() < Duration::from_millis(20) {
            return;
        }
        assert!(Instant::now() < deadline, "it is still called");
    }
}

#[tokio::test]
async fn a_dead_peer_is_left_alone_until_it_is_back() {
    let address = free_address().await;
    let channel = connect(&format!("https://{address}"));
    wait_until_not_called(&channel).await;
    let mut fastest = Duration::MAX;
    for _ in 0..100 {
        let started = Instant::now();
        assert!(call(&channel, ANSWERS).await.is_err());
        fastest = fastest.min(started.elapsed());
    }
    assert!(fastest < Duration::from_millis(1), "{fastest:?}");
    let _stop = serve_until_dropped(address);
    let deadline = deadline_after(Duration::from_secs(10));
    while call(&channel, ANSWERS).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the peer is back and still not called"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_peer_that_hangs_is_left_alone_too() {
    let (channel, _stop) = serve().await;
    call(&channel, ANSWERS).await.expect("connected");
    let mut waits = Vec::new();
    for _ in 0..6 {
        let started = Instant::now();
        let hanging_call = grpc::with_deadline(
            deadline_after(Duration::from_millis(300)),
            call(&channel, HANGS),
        );
        hanging_call.await.expect_err("no answer ever comes");
        waits.push(started.elapsed());
    }
    let last = waits.last().expect("several");
    assert!(*last < Duration::from_millis(150), "{waits:?}");
}

/// A server that is replaced keeps its address here, as that of a service of Kubernetes does.
#[tokio::test]
async fn a_peer_that_took_the_place_of_a_silent_one_is_found() {
    let address = free_address().await;
    let _stop = serve_until_dropped(address);
    let proxy = SilentProxy::start(&address.to_string()).await;
    let channel = connect(&format!("https://{}", proxy.address()));
    call(&channel, ANSWERS).await.expect("connected");
    proxy.silence();
    let error = call(&channel, ANSWERS)
        .await
        .expect_err("the peer is silent");
    assert!(error.is_outcome_unknown(), "{error}");
    proxy.replace();
    let deadline = deadline_after(Duration::from_secs(10));
    while call(&channel, ANSWERS).await.is_err() {
        assert!(Instant::now() < deadline, "its connections stay in use");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_refusal_arrives_whole_and_is_not_retried() {
    let (channel, _stop) = serve().await;
    let error = call(&channel, REFUSES)
        .await
        .expect_err("the test requests a refusal");
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::InvalidArgument, "refused_on_request")
    );
    assert_eq!(error.detail(), "The test requests a refusal.");
    assert!(!error.is_outcome_unknown());
}

#[tokio::test]
async fn the_named_service_says_that_it_serves() {
    let (channel, _stop) = serve().await;
    call(&channel, ANSWERS).await.expect("connected");
    let mut health = HealthClient::new(channel);
    let request = HealthCheckRequest {
        service: SERVICE_NAME.to_owned(),
    };
    let answer = health.check(request).await.expect("answered").into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest {
        service: "talktime.unknown.v1.Nothing".to_owned(),
    };
    assert!(health.check(unknown).await.is_err());
}

/// A server at `address` that ends when its lifecycle does.
fn serve_at(address: SocketAddr) -> ProcessLifecycle {
    let lifecycle = ProcessLifecycle::default();
    let stopping = lifecycle.clone();
    tokio::spawn(async move {
        let routes = Routes::new(TraceServiceServer::new(ScriptedService));
        server::serve(server_at(address), routes, &[SERVICE_NAME], &stopping)
            .await
            .expect("serves");
    });
    lifecycle
}

#[tokio::test]
async fn a_replica_that_drains_or_is_absent_gets_no_request() {
    let (one, other) = (free_address().await, free_address().await);
    let first = serve_at(one);
    // The other has not started yet: each request to it would fail at once.
    let channel = connect(&format!("https://{one},https://{other}"));
    let call_once = || {
        let mut client = TraceServiceClient::new(channel.clone());
        async move { client.export(ExportTraceServiceRequest::default()).await }
    };
    for _ in 0..20 {
        call_once().await.expect("only the first is called");
    }

    let _second = serve_at(other);
    first.draining().cancel();
    // Within two rounds of checks everybody has left the first, which may then close.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    first.stopping().cancel();
    for _ in 0..20 {
        call_once().await.expect("only the second is called");
    }
}

/// A change in the health of a peer is noticed within the number of checks after which it counts as silent.
async fn wait_until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    waited.expect("in time");
}

#[tokio::test]
async fn whether_a_peer_serves_is_known_without_a_request() {
    let address = free_address().await;
    let gateway = AUTHORITY.connector(Workload::Gateway);
    let watched = gateway.connect_and_watch(Workload::Wallet, &format!("https://{address}"));
    let (_channel, health) = watched.expect("valid");
    assert!(!health.serves(), "nobody is known to");
    let server = serve_at(address);
    wait_until(|| health.serves()).await;
    server.draining().cancel();
    wait_until(|| !health.serves()).await;
    server.stopping().cancel();
}

/// Forwards connections to a server and counts the records of TLS: those of clients, and those of the server.
struct RecordCounter {
    address: SocketAddr,
    records: Arc<[AtomicUsize; 2]>,
}

impl RecordCounter {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let records = Arc::<[AtomicUsize; 2]>::default();
        let counted = records.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.expect("it listens");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(forward_records(from_client, to_server, counted.clone(), 0));
                tokio::spawn(forward_records(from_server, to_client, counted.clone(), 1));
            }
        });
        Self { address, records }
    }

    fn read(&self) -> [usize; 2] {
        [0, 1].map(|side| self.records[side].load(Ordering::SeqCst))
    }
}

/// Forwards until the connection ends. A record begins with its type and version, and its length in two bytes.
async fn forward_records(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    records: Arc<[AtomicUsize; 2]>,
    side: usize,
) -> io::Result<()> {
    loop {
        let mut record = vec![0; 5];
        from.read_exact(&mut record).await?;
        let length = u16::from_be_bytes([record[3], record[4]]);
        record.resize(5 + usize::from(length), 0);
        from.read_exact(&mut record[5..]).await?;
        records[side].fetch_add(1, Ordering::SeqCst);
        to.write_all(&record).await?;
    }
}

#[tokio::test]
async fn a_request_is_two_records_and_its_answer_one() {
    let address = free_address().await;
    let _stop = serve_until_dropped(address);
    let channel = connect(&format!("https://{address}"));
    call(&channel, ANSWERS).await.expect("connected");
    let counter = RecordCounter::start(address).await;
    let channel = connect(&format!("https://{}", counter.address));
    call(&channel, ANSWERS).await.expect("connected");
    let long_span = ResourceSpans {
        schema_url: "x".repeat(LONG_TEXT_BYTES),
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![long_span; ANSWERS_AT_LENGTH],
    };
    let mut client = TraceServiceClient::new(channel);
    // The fewest of several calls, since checks of health and pings pass the counter as well.
    let mut fewest = [usize::MAX; 2];
    for _ in 0..20 {
        let before = counter.read();
        client.export(request.clone()).await.expect("answered");
        let after = counter.read();
        fewest = [0, 1].map(|side| fewest[side].min(after[side] - before[side]));
    }
    // The head of a request leaves before its message, which carries the mark of the end.
    assert_eq!(fewest, [2, 1]);
}
