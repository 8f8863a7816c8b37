//! The protocol itself (RFC 6455), byte by byte: closes are answered, and violations are closed with their code.

use serde_json::json;
use talktime_client::{AppUser, UserRole};
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX, connect_app, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{open, set_status};

const FINAL: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [1, 2, 3, 4];

const PROTOCOL_ERROR: u16 = 1002;
const INVALID_TEXT: u16 = 1007;
const TOO_LARGE: u16 = 1009;
const TOO_MANY: u16 = 4429;

/// Builds a frame of a client; `first` holds the flags and the opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(MASKED | length),
        _ => {
            bytes.push(MASKED | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    bytes
}

fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason].concat();
    frame(FINAL | CLOSE, &payload)
}

/// A connection that was upgraded to a socket.
struct RawSocket {
    stream: TcpStream,
}

impl RawSocket {
    async fn open(app: &TestApp, person: &AppUser) -> Self {
        let address = app.gateway_url().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let head = format!(
            "GET /ws/calls HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            person.access_token
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("a whole head"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
        let mut socket = Self { stream };
        let (first, hello) = socket.next_frame().await.expect("hello");
        assert_eq!(first, FINAL | TEXT, "{hello:?}");
        socket
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// Reads the first byte and the payload of the next frame; the end of the connection is an error.
    async fn next_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let read = async {
            let first = self.stream.read_u8().await?;
            let length = match self.stream.read_u8().await? {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).expect("it fits")];
            self.stream.read_exact(&mut payload).await?;
            Ok((first, payload))
        };
        let read = tokio::time::timeout(WAIT_MAX, read).await;
        read.expect("a frame or the end, in time")
    }

    /// Skips frames until the close and returns its payload; then the connection must end.
    async fn wait_until_closed(mut self) -> std::io::Result<Vec<u8>> {
        let payload = loop {
            match self.next_frame().await? {
                (first, payload) if first == FINAL | CLOSE => break payload,
                _ => {}
            }
        };
        let mut rest = Vec::new();
        let end = self.stream.read_to_end(&mut rest);
        let end = tokio::time::timeout(WAIT_MAX, end).await;
        end.expect("the connection ends")?;
        assert!(rest.is_empty(), "after the close: {rest:?}");
        Ok(payload)
    }
}

fn code_of(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(payload.first_chunk().copied()?))
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for (sent, code) in [
        (close_frame(1000, b"bye"), Some(1000)),
        (close_frame(1001, b""), Some(1001)),
        (close_frame(4999, b"ours"), Some(4999)),
        (frame(FINAL | CLOSE, b""), None),
    ] {
        let mut socket = RawSocket::open(&app, &person).await;
        socket.send(&sent).await;
        let payload = socket.wait_until_closed().await.expect("a close");
        assert_eq!(code_of(&payload), code, "{sent:?}: {payload:?}");
    }
}

fn invalid_frames() -> Vec<(&'static str, Vec<u8>)> {
    let ping = br#"{"type": "ping"}"#;
    let mut unmasked = vec![FINAL | TEXT, 16];
    unmasked.extend(ping);
    let two_messages = [frame(TEXT, b"x"), frame(FINAL | TEXT, b"y")].concat();
    vec![
        ("an unmasked frame", unmasked),
        ("a reserved bit", frame(FINAL | 0x40 | TEXT, ping)),
        ("an undefined opcode for data", frame(FINAL | 3, b"")),
        ("an undefined opcode for control", frame(FINAL | 0xb, b"")),
        ("a fragmented ping", frame(PING, b"")),
        ("a ping that is too long", frame(FINAL | PING, &[0; 126])),
        (
            "a continuation of nothing",
            frame(FINAL | CONTINUATION, b"x"),
        ),
        ("a message within another", two_messages),
        ("half a close code", frame(FINAL | CLOSE, &[3])),
    ]
}

fn invalid_texts() -> Vec<(&'static str, Vec<u8>)> {
    let fragments = [
        frame(TEXT, "ё".as_bytes()),
        frame(FINAL | CONTINUATION, &[0xd1]),
    ];
    vec![
        ("text that is not UTF-8", frame(FINAL | TEXT, &[0xff])),
        ("fragments that are not UTF-8 together", fragments.concat()),
        (
            "a close whose reason is not UTF-8",
            close_frame(1000, &[0xff]),
        ),
    ]
}

fn large_messages() -> Vec<(&'static str, Vec<u8>)> {
    let length = (1_u64 << 30).to_be_bytes();
    let head_of_gigabyte = [&[FINAL | TEXT, MASKED | 127], &length[..], &MASK].concat();
    let above_limit = frame(FINAL | TEXT, &vec![b'x'; 64 * 1024 + 1]);
    vec![
        ("a message above 64 KiB", above_limit),
        ("the beginning of a frame of a gigabyte", head_of_gigabyte),
    ]
}

fn invalid_closes() -> Vec<(&'static str, Vec<u8>)> {
    let codes = [0, 999, 1005, 1006, 1015, 2999, 5000];
    codes
        .map(|code| ("a close code out of range", close_frame(code, b"")))
        .into()
}

#[tokio::test]
async fn protocol_violations_are_closed_with_their_code() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for (violations, code) in [
        (invalid_frames(), PROTOCOL_ERROR),
        (invalid_closes(), PROTOCOL_ERROR),
        (invalid_texts(), INVALID_TEXT),
        (large_messages(), TOO_LARGE),
    ] {
        for (name, bytes) in violations {
            let mut socket = RawSocket::open(&app, &person).await;
            socket.send(&bytes).await;
            let payload = socket.wait_until_closed().await;
            let payload = payload.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(code_of(&payload), Some(code), "{name}: {payload:?}");
        }
    }
}

#[tokio::test]
async fn a_protocol_ping_is_answered_and_is_no_sign_of_life() {
    let app = connect_app().await;
    let (person, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let mut socket = RawSocket::open(&app, &person).await;
    let (mut of_other, _) = open(&app, "/ws/calls", &other).await;
    for one in [&person, &other] {
        set_status(&app, one, json!({"is_online": false})).await;
    }
    socket.send(&frame(FINAL | PING, b"there")).await;
    let answer = socket.next_frame().await.expect("a pong");
    assert_eq!(answer, (FINAL | PONG, b"there".to_vec()));
    // Heartbeats are sent to presence in batches, so a heartbeat of this ping would have arrived no later.
    of_other.send(&json!({"type": "ping"})).await.expect("sent");
    let is_online = async |one: &AppUser| {
        let status = app.get("/users/me/status").as_user(one).answer().await;
        status.body["is_online"] == true
    };
    wait_for("the message of the other to put them online", || async {
        is_online(&other).await.then_some(())
    })
    .await;
    assert!(!is_online(&person).await, "the ping put them online");
}

#[tokio::test]
async fn a_flood_of_control_frames_is_closed() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for opcode in [PING, PONG] {
        let mut socket = RawSocket::open(&app, &person).await;
        socket.send(&frame(FINAL | opcode, b"").repeat(100)).await;
        let payload = socket.wait_until_closed().await.expect("a close");
        assert_eq!(code_of(&payload), Some(TOO_MANY), "{opcode}");
    }
}
