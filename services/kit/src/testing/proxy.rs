//! A proxy between a program and its peer that can stop forwarding, as a network that drops packets does, or a
//! machine that is frozen: sockets stay open, and nobody answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const CHUNK_BYTES: usize = 16 * 1024;

/// Where connections lead.
#[derive(Clone, Debug)]
struct ProxyRoute {
    target: String,
    is_silent: bool,
    /// Connections that were opened before the last replacement lead nowhere.
    generation: u64,
}

/// A TCP proxy in front of one address; it ends when it is dropped.
pub struct SilentProxy {
    address: SocketAddr,
    route: watch::Sender<ProxyRoute>,
    accepting: JoinHandle<()>,
}

impl SilentProxy {
    /// Listens on a free port of this machine and forwards to `host:port`.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let (route, followed) = watch::channel(ProxyRoute {
            target: target.to_owned(),
            is_silent: false,
            generation: 0,
        });
        Self {
            address: listener.local_addr().expect("bound"),
            route,
            accepting: tokio::spawn(accept_connections(listener, followed)),
        }
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops forwarding. Connections stay open, and new ones are accepted.
    pub fn silence(&self) {
        self.route.send_modify(|route| route.is_silent = true);
    }

    /// Forwards again, on every connection, as after a freeze.
    pub fn resume(&self) {
        self.route.send_modify(|route| route.is_silent = false);
    }

    /// Forwards connections that are opened from now on, as after a failover to another machine. Open
    /// connections stay open and are never answered again.
    pub fn replace(&self) {
        self.route.send_modify(|route| {
            route.is_silent = false;
            route.generation += 1;
        });
    }
}

impl Drop for SilentProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept_connections(listener: TcpListener, route: watch::Receiver<ProxyRoute>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let generation = route.borrow().generation;
        let gate = ConnectionGate {
            route: route.clone(),
            generation,
        };
        connections.spawn(forward_connection(client, gate));
        while connections.try_join_next().is_some() {}
    }
}

/// Lets bytes of one connection through.
#[derive(Clone)]
struct ConnectionGate {
    route: watch::Receiver<ProxyRoute>,
    generation: u64,
}

impl ConnectionGate {
    /// Waits until the connection is forwarded and returns where to.
    async fn wait(&mut self) -> io::Result<String> {
        let generation = self.generation;
        let is_open = |route: &ProxyRoute| !route.is_silent && route.generation == generation;
        let route = self.route.wait_for(is_open).await;
        let route = route.map_err(|_closed| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(route.target.clone())
    }
}

async fn forward_connection(client: TcpStream, mut gate: ConnectionGate) -> io::Result<()> {
    let target = gate.wait().await?;
    let server = TcpStream::connect(target).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        forward_bytes(from_client, to_server, gate.clone()),
        forward_bytes(from_server, to_client, gate),
    )?;
    Ok(())
}

async fn forward_bytes(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut gate: ConnectionGate,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut chunk).await?;
        gate.wait().await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
