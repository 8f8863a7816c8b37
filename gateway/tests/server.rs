//! The public port: both protocols, and connections that send no requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use talktime_gateway::config::PublicHttpConfig;
use talktime_gateway::server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const HEAD_TIMEOUT: Duration = Duration::from_millis(300);
/// Generous for a busy machine, but shorter than a missing time-out.
const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

async fn serve(router: Router, connections_max: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stopping = CancellationToken::new();
    let config = PublicHttpConfig {
        head_timeout_ms: u64::try_from(HEAD_TIMEOUT.as_millis()).expect("short"),
        connections_max,
        ..PublicHttpConfig::new(address)
    };
    let token = stopping.clone();
    let running =
        tokio::spawn(async move { server::serve(listener, router, &config, token).await });
    Server {
        address,
        stopping,
        running,
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

/// Reads until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await;
    // A reset is a close as well.
    let _ = read.expect("it is closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn one_port_serves_both_protocols() {
    let server = serve(hello(), 8).await;
    let mut stream = connect(server.address).await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let io = TokioIo::new(connect(server.address).await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut client, connection) = handshake.await.expect("HTTP/2 without TLS");
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/", server.address)).body(Body::empty());
    let answer = client.send_request(request.expect("a request")).await;
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_2)
    );
}

#[tokio::test]
async fn a_connection_that_sends_its_head_too_slowly_is_closed() {
    let server = serve(hello(), 8).await;
    for beginning in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut stream = connect(server.address).await;
        let sent = stream.write_all(beginning.as_bytes()).await;
        sent.expect("sent");
        let started = Instant::now();
        rest(&mut stream).await;
        assert!(started.elapsed() < SOON, "{beginning:?}");
    }
}

#[tokio::test]
async fn a_waiting_connection_gets_the_next_free_slot() {
    let server = serve(hello(), 1).await;
    let idle = connect(server.address).await;
    let mut stream = connect(server.address).await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    // Not before the idle one has had its time.
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(idle);
}

#[tokio::test]
async fn a_stop_waits_for_answers_but_not_for_idle_connections() {
    let (begun, has_begun) = oneshot::channel();
    let (finish, may_finish) = oneshot::channel::<()>();
    let ends = std::sync::Mutex::new(Some((begun, may_finish)));
    let ends = std::sync::Arc::new(ends);
    let slow = move || {
        let ends = ends.lock().expect("not poisoned").take();
        async move {
            let (begun, may_finish) = ends.expect("asked once");
            begun.send(()).expect("the test waits");
            may_finish.await.expect("the test says so");
            "done"
        }
    };
    let server = serve(Router::new().route("/", get(slow)), 8).await;
    let mut stream = connect(server.address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    has_begun.await.expect("it works on the request");
    server.stopping.cancel();
    finish.send(()).expect("it still works on it");
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("done"), "{answer}");
    let stopped = tokio::time::timeout(SOON, server.running).await;
    stopped
        .expect("in time")
        .expect("no panic")
        .expect("no error");
}
