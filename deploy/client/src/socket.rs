//! Sockets of the gateway.

use std::time::Duration;

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

/// An open socket.
pub struct AppSocket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// The way in which the gateway closed a socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketClose {
    /// Close code, such as 4401; 1005 if the gateway sent none, 1006 if there was no close frame.
    pub code: u16,
    /// Reason, possibly empty.
    pub reason: String,
}

const NARROW_BYTES: u32 = 4 * 1024;
const NO_CODE: u16 = 1005;
const NO_CLOSE: u16 = 1006;

impl AppSocket {
    /// Opens a socket at `path`, which may have a query, with the token in a header.
    pub async fn open(gateway_url: &str, path: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let headers = token.map(|token| ("authorization", format!("Bearer {token}")));
        Self::open_with(gateway_url, path, headers.as_slice()).await
    }

    /// Opens a socket with these headers.
    pub async fn open_with(
        gateway_url: &str,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let (stream, _) = connect_async(build_request(gateway_url, path, headers)?)
            .await
            .with_context(|| format!("the socket {path} did not open"))?;
        Ok(Self { stream })
    }

    /// Opens a socket whose connection buffers only a few kilobytes, with the token in a header.
    pub async fn open_narrow(gateway_url: &str, path: &str, token: &str) -> anyhow::Result<Self> {
        let headers = [("authorization", format!("Bearer {token}"))];
        let request = build_request(gateway_url, path, &headers)?;
        let address = request.uri().authority().context("an address")?.to_string();
        let connection = TcpSocket::new_v4()?;
        connection.set_recv_buffer_size(NARROW_BYTES)?;
        let connection = connection.connect(address.parse()?).await?;
        let (stream, _) = client_async(request, MaybeTlsStream::Plain(connection)).await?;
        Ok(Self { stream })
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.stream.send(Message::text(message.to_string())).await?;
        Ok(())
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.stream.send(Message::text(text)).await?;
        Ok(())
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.send(Message::binary(bytes.to_vec())).await?;
        Ok(())
    }

    /// Writes bytes outside of any frame.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).await?;
        stream.flush().await?;
        Ok(())
    }

    /// Receives the next message.
    pub async fn receive_next(&mut self, within: Duration) -> anyhow::Result<Value> {
        self.receive_matching("a message", within, |_| true).await
    }

    /// Receives the next message, or the close of the socket.
    pub async fn receive_or_close(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<Result<Value, SocketClose>> {
        timeout(within, self.receive())
            .await
            .with_context(|| format!("nothing on the socket within {within:?}"))?
    }

    /// Receives the next message of a type and skips others.
    pub async fn receive_type(&mut self, r#type: &str, within: Duration) -> anyhow::Result<Value> {
        self.receive_matching(r#type, within, |message| message["type"] == r#type)
            .await
    }

    /// Receives the next message that fits and skips others. An error contains the `description`.
    pub async fn receive_matching(
        &mut self,
        description: &str,
        within: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let receiving = async {
            loop {
                match self.receive().await? {
                    Ok(message) if fits(&message) => return Ok(message),
                    Ok(_) => {}
                    Err(closed) => bail!("the socket was closed: {closed:?}"),
                }
            }
        };
        timeout(within, receiving)
            .await
            .with_context(|| format!("no {description} on the socket within {within:?}"))?
    }

    /// Waits until the gateway closes the socket and skips messages before that.
    pub async fn wait_until_closed(&mut self, within: Duration) -> anyhow::Result<SocketClose> {
        let closed = async {
            loop {
                if let Err(closed) = self.receive().await? {
                    return Ok(closed);
                }
            }
        };
        timeout(within, closed)
            .await
            .with_context(|| format!("the socket was not closed within {within:?}"))?
    }

    async fn receive(&mut self) -> anyhow::Result<Result<Value, SocketClose>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Ok(serde_json::from_str(&text)?)),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Ok(Err(SocketClose {
                        code: frame.code.into(),
                        reason: frame.reason.to_string(),
                    }));
                }
                Some(Ok(Message::Close(None))) => {
                    return Ok(Err(SocketClose::without_frame(NO_CODE)));
                }
                // The library answers pings.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(Err(SocketClose::without_frame(NO_CLOSE))),
            }
        }
    }
}

fn build_request(
    gateway_url: &str,
    path: &str,
    headers: &[(&'static str, String)],
) -> anyhow::Result<Request> {
    let address = gateway_url
        .strip_prefix("http")
        .context("the gateway's URL is http or https")?;
    let mut request = format!("ws{address}{path}").into_client_request()?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value)?;
        request.headers_mut().insert(*name, value);
    }
    Ok(request)
}

impl SocketClose {
    fn without_frame(code: u16) -> Self {
        Self {
            code,
            reason: String::new(),
        }
    }
}
