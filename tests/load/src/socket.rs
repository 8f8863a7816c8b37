//! A socket client with a small footprint.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{SinkExt, StreamExt};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Size of buffers, since ten thousand sockets share one machine with the gateway. A burst of changes fits.
const BUFFER_BYTES: usize = 8 * 1024;
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// An open socket after its hello.
pub(crate) struct LoadSocket(WebSocketStream<TcpStream>);

impl LoadSocket {
    pub(crate) async fn open(
        gateway_url: &str,
        path: &str,
        access_token: &str,
    ) -> anyhow::Result<Self> {
        let host = gateway_url
            .strip_prefix("http://")
            .context("the gateway is at http://")?;
        let uri: Uri = format!("ws://{host}{path}").parse()?;
        let mut request = uri.into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {access_token}"))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0);
        let opened = client_async_with_config(request, stream, Some(config));
        let (stream, _) = opened.await.context("a socket did not open")?;
        let mut socket = Self(stream);
        let hello = timeout(HELLO_WITHIN, socket.receive()).await;
        let hello = hello.context("no hello")??;
        ensure!(hello.contains("\"hello\""), "refused: {hello}");
        Ok(socket)
    }

    /// Receives the next message and answers pings before it.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.0.next().await.context("the socket ended")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => bail!("the gateway closed the socket: {frame:?}"),
                _ => {}
            }
        }
    }

    pub(crate) async fn send(&mut self, text: impl Into<Utf8Bytes>) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }
}
