//! An HTTP client with a small footprint, since it shares the processors with the measured gateway. Each worker keeps
//! one connection open.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection of a logged-in user. The gateway closes idle connections; the next request reconnects.
pub(crate) struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    bearer: String,
}

impl HttpConnection {
    pub(crate) async fn open(gateway_url: &str, access_token: &str) -> anyhow::Result<Self> {
        let host = gateway_url
            .strip_prefix("http://")
            .context("the gateway is at http://")?;
        Ok(Self {
            sender: connect(host).await?,
            host: host.to_owned(),
            bearer: format!("Bearer {access_token}"),
        })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        idempotency_key: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, &self.bearer);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::from(serde_json::to_vec(body)?)
            }
            None => Full::default(),
        };
        if self.sender.ready().await.is_err() {
            self.sender = connect(&self.host).await?;
        }
        let response = self.sender.send_request(request.body(body)?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// Sends a request that must succeed.
    pub(crate) async fn request_ok(
        &mut self,
        method: Method,
        path: &str,
        idempotency_key: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<Bytes> {
        let (status, answer) = self.request(method, path, idempotency_key, body).await?;
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(answer)
    }
}

async fn connect(host: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
