//! The routes of the demo page.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::accounts::DemoAccounts;

/// The files of the page by path, with their types. Nothing else in the folder is served.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "index.html", "text/html; charset=utf-8"),
    ("/style.css", "style.css", "text/css"),
    ("/app.js", "app.js", "text/javascript"),
    ("/api.js", "api.js", "text/javascript"),
    ("/call-media.js", "call-media.js", "text/javascript"),
    ("/call-socket.js", "call-socket.js", "text/javascript"),
];

/// Serves the page.
pub(crate) struct PageServer {
    gateway_urls: Vec<String>,
    folder: PathBuf,
    accounts: Arc<DemoAccounts>,
}

#[derive(Deserialize)]
struct OtpQuery {
    phone: String,
}

/// A failure, for the developer who reads it in the browser.
struct PageError(anyhow::Error);

impl PageServer {
    pub(crate) fn new(gateway_urls: Vec<String>, folder: PathBuf, accounts: DemoAccounts) -> Self {
        Self {
            gateway_urls,
            folder,
            accounts: Arc::new(accounts),
        }
    }

    pub(crate) fn into_routes(self) -> Router {
        let mut routes = Router::new()
            .route("/demo/config", get(describe_demo))
            .route("/demo/otp", get(read_otp));
        for (path, name, content_type) in FILES {
            let file = self.folder.join(name);
            routes = routes.route(path, get(move || serve_file(file, content_type)));
        }
        routes.with_state(Arc::new(self))
    }
}

/// Reads a file at each request, so that a reload of the page shows a change.
async fn serve_file(file: PathBuf, content_type: &'static str) -> Result<Response, PageError> {
    let content = tokio::fs::read(file).await?;
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")];
    Ok((headers, content).into_response())
}

async fn describe_demo(State(server): State<Arc<PageServer>>) -> Result<Json<Value>, PageError> {
    let accounts = server.accounts.clone();
    let users = run_pinned(move || async move { accounts.load_pair().await }).await?;
    Ok(Json(
        json!({"gateways": server.gateway_urls, "users": users}),
    ))
}

async fn read_otp(
    State(server): State<Arc<PageServer>>,
    Query(query): Query<OtpQuery>,
) -> Result<Json<Value>, PageError> {
    let accounts = server.accounts.clone();
    let otp = run_pinned(move || async move { accounts.read_otp(&query.phone).await }).await?;
    Ok(Json(json!({"otp": otp})))
}

/// Runs requests of the client, whose futures do not move between threads, on one thread.
#[expect(
    clippy::disallowed_methods,
    reason = "few people use the page of one developer at the same time"
)]
async fn run_pinned<T, F>(work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
    T: Send + 'static,
{
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work())).await?
}

impl<E: Into<anyhow::Error>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        eprintln!("the demo page failed: {error:#}");
        (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response()
    }
}
