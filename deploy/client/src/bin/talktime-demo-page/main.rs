//! The server of the demo page in development: the files of `deploy/client/web`, two accounts for the page, and the
//! one-time passwords that development does not send as text messages.
//!
//! Reads `PAGE_LISTEN`, `PAGE_FOLDER`, `GATEWAY_URLS` (separated by commas), `REDIS_URL` and
//! `REDIS_CA_FILE`.

mod accounts;
mod server;

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use talktime_client::StoreAddress;
use tokio::signal::unix::{SignalKind, signal};

use crate::accounts::DemoAccounts;
use crate::server::PageServer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let listen: SocketAddr = read_variable("PAGE_LISTEN")?
        .parse()
        .context("PAGE_LISTEN")?;
    let gateway_urls = read_variable("GATEWAY_URLS")?;
    let gateway_urls: Vec<String> = gateway_urls.split(',').map(str::to_owned).collect();
    let accounts = DemoAccounts::new(&gateway_urls[0], StoreAddress::from_variables("REDIS")?)?;
    let folder = PathBuf::from(read_variable("PAGE_FOLDER")?);
    let routes = PageServer::new(gateway_urls, folder, accounts).into_routes();
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    println!("serving the demo page on http://{listen}");
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, routes) => served?,
        _ = terminate.recv() => (),
    }
    Ok(())
}

fn read_variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev up`"))
}
