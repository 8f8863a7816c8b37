//! An S3 server for development, with one bucket of plain files in a folder.
//!
//! Production uses a real object store. With this server the platform and its tests need none. Requests must be signed
//! with the pair of keys given at the start, so that presigned URLs and wrong credentials behave as in production.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

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
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    println!(
        "serving bucket {} on http://{}",
        options.bucket, options.listen
    );
    serve(listener, service).await
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
async fn serve(listener: TcpListener, service: S3Service) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let connections = ConnectionBuilder::new(TokioExecutor::new());
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
        let connection = connections
            .serve_connection(TokioIo::new(socket), service.clone())
            .into_owned();
        // The client of a broken connection sees the error itself.
        tokio::spawn(graceful.watch(connection));
    }
    if tokio::time::timeout(DRAIN_DEADLINE, graceful.shutdown())
        .await
        .is_err()
    {
        eprintln!("some requests did not finish within {DRAIN_DEADLINE:?}");
    }
    Ok(())
}
