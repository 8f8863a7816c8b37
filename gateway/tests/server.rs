//! The public port: both protocols, and connections that send no requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use http::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use talktime_gateway::config::PublicHttpConfig;
use talktime_gateway::server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

const HEAD_TIMEOUT: Duration = Duration::from_millis(300);
const IDLE_TIMEOUT: Duration = Duration::from_millis(1_200);
/// Generous for a busy machine, but shorter than a missing time-out.
const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

async fn serve(router: Router, connections_max: usize) -> Server {
    serve_with(router, |config| PublicHttpConfig {
        connections_max,
        ..config
    })
    .await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("short")
}

/// Serves with a short time-out of heads and these settings.
async fn serve_with(
    router: Router,
    configure: impl FnOnce(PublicHttpConfig) -> PublicHttpConfig,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stopping = CancellationToken::new();
    let config = configure(PublicHttpConfig {
        head_timeout_ms: millis(HEAD_TIMEOUT),
        ..PublicHttpConfig::new(address)
    });
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

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends bytes and reads until an answer with the body of [`hello`] is complete.
async fn ask(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    let reading = async {
        while !answer.ends_with(b"hello") {
            let read = stream.read_buf(&mut answer).await.expect("an answer");
            assert!(read > 0, "closed after {answer:?}");
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("in time");
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let server = serve(hello(), 8).await;
    let mut stream = connect(server.address).await;
    for _ in 0..3 {
        ask(&mut stream, GET).await;
        tokio::time::sleep(2 * HEAD_TIMEOUT).await;
    }
    ask(&mut stream, GET).await;
}

#[tokio::test]
async fn a_later_head_that_is_sent_too_slowly_ends_its_connection() {
    let server = serve(hello(), 8).await;
    let mut stream = connect(server.address).await;
    ask(&mut stream, GET).await;
    let started = Instant::now();
    stream.write_all(&GET[..20]).await.expect("sent");
    assert_eq!(rest(&mut stream).await, "");
    assert!(started.elapsed() >= HEAD_TIMEOUT, "{:?}", started.elapsed());
    assert!(started.elapsed() < SOON, "long before it counts as idle");
}

/// Serves with a short time-out of idle connections, which is longer than that of heads.
async fn serve_impatiently() -> Server {
    serve_with(hello(), |config| PublicHttpConfig {
        idle_timeout_ms: millis(IDLE_TIMEOUT),
        ..config
    })
    .await
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let server = serve_impatiently().await;
    let mut stream = connect(server.address).await;
    let started = Instant::now();
    ask(&mut stream, GET).await;
    assert_eq!(rest(&mut stream).await, "");
    assert!(started.elapsed() >= IDLE_TIMEOUT, "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_idle_connection_of_http2_ends() {
    let server = serve_impatiently().await;
    let io = TokioIo::new(connect(server.address).await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut client, connection) = handshake.await.expect("HTTP/2 without TLS");
    let connection = tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::get(format!("http://{}/", server.address)).body(Body::empty());
        let answer = client.send_request(request.expect("a request")).await;
        assert_eq!(answer.expect("an answer").status().as_u16(), 200);
        tokio::time::sleep(HEAD_TIMEOUT).await;
    }
    // The client still answers pings, which keep a connection of a client that does nothing else.
    let ended = tokio::time::timeout(SOON, connection).await;
    // The end may reach the client as an error.
    let _ = ended.expect("in time").expect("no panic");
}

#[tokio::test]
async fn an_address_has_a_number_of_connections_at_once() {
    let server = serve_with(hello(), |config| PublicHttpConfig {
        connections_per_address_max: 2,
        ..config
    })
    .await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(server.address).await;
        ask(&mut stream, GET).await;
        connections.push(stream);
    }
    let mut third = connect(server.address).await;
    assert_eq!(rest(&mut third).await, "", "it is closed");
    ask(&mut connections[0], GET).await;
    // The place is free once the server has noticed the end.
    drop(connections);
    let next = async {
        loop {
            let mut stream = connect(server.address).await;
            let sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            if sent.await.is_ok() && rest(&mut stream).await.ends_with("hello") {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, next).await.expect("in time");
}

#[tokio::test]
async fn the_connections_of_a_proxy_are_those_of_many_clients() {
    let server = serve_with(hello(), |config| PublicHttpConfig {
        connections_per_address_max: 1,
        trusted_hops: 1,
        ..config
    })
    .await;
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(server.address).await;
        ask(&mut stream, GET).await;
        connections.push(stream);
    }
}

#[tokio::test]
async fn a_socket_is_a_connection_without_the_time_outs_of_requests() {
    let echo = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket: WebSocket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    };
    let router = hello().route("/socket", get(echo));
    let server = serve_with(router, |config| PublicHttpConfig {
        connections_per_address_max: 1,
        idle_timeout_ms: millis(2 * HEAD_TIMEOUT),
        ..config
    })
    .await;
    let url = format!("ws://{}/socket", server.address);
    let (mut socket, _) = connect_async(url).await.expect("a socket");
    for _ in 0..3 {
        tokio::time::sleep(2 * HEAD_TIMEOUT).await;
        socket
            .send(Message::text("still here"))
            .await
            .expect("sent");
        let echoed = socket.next().await.expect("open").expect("a message");
        assert_eq!(echoed, Message::text("still here"));
    }
    let mut another = connect(server.address).await;
    assert_eq!(rest(&mut another).await, "", "the socket has the place");
}

#[tokio::test]
async fn the_close_of_a_socket_is_answered() {
    let read_to_end = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket: WebSocket| async move {
            while let Some(Ok(_)) = socket.recv().await {}
        })
    };
    let server = serve(hello().route("/socket", get(read_to_end)), 1).await;
    let url = format!("ws://{}/socket", server.address);
    let (mut socket, _) = connect_async(url).await.expect("a socket");
    socket.close(None).await.expect("sent");
    let answer = socket.next().await.expect("open").expect("an answer");
    assert!(answer.is_close(), "{answer:?}");
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
