//! An S3 server for development, with one bucket of plain files in a folder.
//!
//! Production uses a real object store. With this server the platform and its tests need none. Requests arrive over TLS
//! and must be signed with the pair of keys given at the start, so that certificates, presigned URLs and wrong credentials
//! behave as in production.

mod certificate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::certificate::read_server_config;

/// Time for the handshake of a connection.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Time for requests under way after a signal to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, for example without free file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Parser)]
#[command(about = "An S3 server for development with plain files", version)]
struct ServerOptions {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:7900")]
    listen: SocketAddr,
    /// The folder that holds the buckets
    #[arg(long)]
    root: PathBuf,
    /// The certificate of the server, as PEM
    #[arg(long)]
    certificate: PathBuf,
    /// The private key of the certificate, as PEM
    #[arg(long)]
    key: PathBuf,
    #[arg(long)]
    access_key: String,
    #[arg(long)]
    secret_key: String,
    /// The bucket, which is created at the start if it does not exist
    #[arg(long)]
    bucket: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = ServerOptions::parse();
    let service = open_store(&options)?;
    let tls = read_server_config(&options.certificate, &options.key)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    println!(
        "serving bucket {} on https://{}",
        options.bucket, options.listen
    );
    serve(listener, acceptor, service).await
}

/// Creates the bucket, which is a folder, and the service.
fn open_store(options: &ServerOptions) -> anyhow::Result<S3Service> {
    let bucket = options.root.join(&options.bucket);
    std::fs::create_dir_all(&bucket).with_context(|| {
        format!(
            "cannot create the folder of the bucket {}",
            bucket.display()
        )
    })?;
    let files = FileSystem::new(&options.root)
        .map_err(|error| anyhow::anyhow!("cannot open {}: {error:?}", options.root.display()))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(
        options.access_key.as_str(),
        options.secret_key.as_str(),
    ));
    Ok(builder.build())
}

/// Serves until SIGTERM or SIGINT, then lets requests under way finish within a deadline.
async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: S3Service,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = &mut interrupt => break,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::spawn(serve_connection(
            socket,
            acceptor.clone(),
            service.clone(),
            graceful.watcher(),
        ));
    }
    if tokio::time::timeout(DRAIN_DEADLINE, graceful.shutdown())
        .await
        .is_err()
    {
        eprintln!("some requests did not finish within {DRAIN_DEADLINE:?}");
    }
    Ok(())
}

/// Serves the requests of one connection. The client of a broken connection sees the error itself.
async fn serve_connection(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    service: S3Service,
    watcher: Watcher,
) {
    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(socket));
    if let Ok(Ok(stream)) = handshake.await {
        let connections = ConnectionBuilder::new(TokioExecutor::new());
        let connection = connections.serve_connection(TokioIo::new(stream), service);
        let _ = watcher.watch(connection).await;
    }
}
