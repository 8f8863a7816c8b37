//! Whether a process does its work: not merely runs, but answers as it should.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use ureq::Agent;

use crate::databases;
use crate::instance::Instance;
use crate::stack::Stack;
use crate::unit::Unit;

/// How long one answer may take. On a loaded machine a slow answer is asked for again.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

static HTTP: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .timeout_global(Some(ANSWER_DEADLINE))
        .http_status_as_error(false)
        // Everything is on this machine, whatever HTTP_PROXY says about the rest of the world.
        .proxy(None)
        // A connection kept from before a restart would fail the first look after it.
        .max_idle_connections(0)
        .build()
        .new_agent()
});

pub(crate) fn is_ready(stack: &Stack, instance: Instance) -> bool {
    let main = stack.main_port(instance);
    match instance.unit {
        Unit::Postgres => databases::answers(stack),
        Unit::Redis => redis_answers(main).unwrap_or(false),
        // Health as NATS sees it includes JetStream.
        Unit::Nats => {
            stack
                .ops_port(instance)
                .and_then(|port| status(port, "/healthz"))
                == Some(200)
        }
        // Without a signature the answer is a refusal, which is what a healthy store gives.
        Unit::S3 => status(main, "/") == Some(403),
        _ => {
            stack
                .ops_port(instance)
                .and_then(|port| status(port, "/readyz"))
                == Some(200)
        }
    }
}

fn status(port: u16, path: &str) -> Option<u16> {
    let response = HTTP
        .get(format!("http://127.0.0.1:{port}{path}"))
        .call()
        .ok()?;
    Some(response.status().as_u16())
}

fn redis_answers(port: u16) -> std::io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_DEADLINE)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}
