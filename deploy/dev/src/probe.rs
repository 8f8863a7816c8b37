//! Checks whether a process is ready: it not only runs, but answers as expected.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::LazyLock;
use std::time::Duration;

use ureq::Agent;

use crate::databases;
use crate::instance::UnitInstance;
use crate::stack::DevStack;
use crate::unit::StackUnit;

/// Time limit of one answer. On a busy machine the next probe repeats the request.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

static HTTP: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .timeout_global(Some(ANSWER_DEADLINE))
        .http_status_as_error(false)
        // All addresses are on this machine, so HTTP_PROXY does not apply.
        .proxy(None)
        // A connection from before a restart would fail the first probe after it.
        .max_idle_connections(0)
        .build()
        .new_agent()
});

pub(crate) fn is_ready(stack: &DevStack, instance: UnitInstance) -> bool {
    let main = stack.main_port(instance);
    match instance.unit {
        StackUnit::Postgres => databases::is_answering(stack),
        StackUnit::RelayRedis => is_redis_answering(main).unwrap_or(false),
        StackUnit::Redis if stack.is_plaintext() => is_redis_answering(main).unwrap_or(false),
        // The health of NATS includes JetStream.
        StackUnit::Nats => {
            stack
                .ops_port(instance)
                .and_then(|port| fetch_status(port, "/healthz"))
                == Some(200)
        }
        StackUnit::Redis | StackUnit::S3 => is_tls_answering(main).unwrap_or(false),
        StackUnit::Page => fetch_status(main, "/") == Some(200),
        StackUnit::Coturn => is_turn_answering(main).unwrap_or(false),
        _ => {
            stack
                .ops_port(instance)
                .and_then(|port| fetch_status(port, "/readyz"))
                == Some(200)
        }
    }
}

fn fetch_status(port: u16, path: &str) -> Option<u16> {
    let response = HTTP
        .get(format!("http://127.0.0.1:{port}{path}"))
        .call()
        .ok()?;
    Some(response.status().as_u16())
}

/// Sends a request over a new connection and reads the first bytes of the answer.
fn exchange<const LENGTH: usize>(port: u16, request: &[u8]) -> std::io::Result<[u8; LENGTH]> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_DEADLINE)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    stream.write_all(request)?;
    let mut answer = [0; LENGTH];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn is_redis_answering(port: u16) -> std::io::Result<bool> {
    let answer = exchange(port, b"PING\r\n")?;
    // A server with users answers strangers, too: `-NOAUTH`.
    Ok([b"+PONG", b"-NOAU"].contains(&&answer))
}

/// Whether a server of TLS refuses a handshake that ends too early, as it does once it serves. Not every server answers what
/// is no handshake at all.
fn is_tls_answering(port: u16) -> std::io::Result<bool> {
    const ALERT: u8 = 21;
    // A record of five bytes that contains a `ClientHello` of one.
    const SHORT_HANDSHAKE: [u8; 10] = [22, 3, 1, 0, 5, 1, 0, 0, 1, 0];
    Ok(exchange(port, &SHORT_HANDSHAKE)? == [ALERT])
}

/// Whether a relay answers a binding request of STUN (RFC 8489) over UDP.
fn is_turn_answering(port: u16) -> std::io::Result<bool> {
    const BINDING_REQUEST: [u8; 8] = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
    const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(ANSWER_DEADLINE))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    // Twelve bytes identify the request.
    socket.send(&[BINDING_REQUEST.as_slice(), &[7; 12]].concat())?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    Ok(answer[..length].starts_with(&BINDING_SUCCESS))
}
