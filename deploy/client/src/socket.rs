//! A socket to the gateway.

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

/// A socket that is open.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// How the gateway closed a socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closed {
    /// The close code, such as 4401; 1005 when none was said, 1006 when there was no close at all.
    pub code: u16,
    /// The reason, possibly empty.
    pub reason: String,
}

const NARROW_BYTES: u32 = 4 * 1024;
const NO_CODE: u16 = 1005;
const NO_CLOSE: u16 = 1006;

impl Socket {
    /// Opens a socket at `path`, which may have a query; the token goes into a header.
    pub async fn open(gateway_url: &str, path: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let headers = token.map(|token| ("authorization", format!("Bearer {token}")));
        Self::open_with(gateway_url, path, headers.as_slice()).await
    }

    /// Opens a socket with headers of one's own.
    pub async fn open_with(
        gateway_url: &str,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let (stream, _) = connect_async(request(gateway_url, path, headers)?)
            .await
            .with_context(|| format!("the socket {path} did not open"))?;
        Ok(Self { stream })
    }

    /// Opens a socket whose connection takes in only a few kilobytes that are not read; the token
    /// goes into a header.
    pub async fn open_narrow(gateway_url: &str, path: &str, token: &str) -> anyhow::Result<Self> {
        let headers = [("authorization", format!("Bearer {token}"))];
        let request = request(gateway_url, path, &headers)?;
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

    /// Sends text that is no message of the contract.
    pub async fn send_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.stream.send(Message::text(text)).await?;
        Ok(())
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.send(Message::binary(bytes.to_vec())).await?;
        Ok(())
    }

    /// Writes bytes that are no frame.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).await?;
        stream.flush().await?;
        Ok(())
    }

    /// The next message.
    pub async fn next(&mut self, within: Duration) -> anyhow::Result<Value> {
        self.next_where("a message", within, |_| true).await
    }

    /// The next message, or how the gateway closed the socket instead.
    pub async fn next_or_closed(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<Result<Value, Closed>> {
        timeout(within, self.receive())
            .await
            .with_context(|| format!("nothing on the socket within {within:?}"))?
    }

    /// The next message of a type; others are passed over.
    pub async fn next_of_type(&mut self, r#type: &str, within: Duration) -> anyhow::Result<Value> {
        self.next_where(r#type, within, |message| message["type"] == r#type)
            .await
    }

    /// The next message that fits; others are passed over. `what` is for the error's sentence.
    pub async fn next_where(
        &mut self,
        what: &str,
        within: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let heard = async {
            loop {
                match self.receive().await? {
                    Ok(message) if fits(&message) => return Ok(message),
                    Ok(_) => {}
                    Err(closed) => bail!("the socket was closed: {closed:?}"),
                }
            }
        };
        timeout(within, heard)
            .await
            .with_context(|| format!("no {what} on the socket within {within:?}"))?
    }

    /// Waits until the gateway closes the socket; messages before that are passed over.
    pub async fn closed(&mut self, within: Duration) -> anyhow::Result<Closed> {
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

    async fn receive(&mut self) -> anyhow::Result<Result<Value, Closed>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Ok(serde_json::from_str(&text)?)),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Ok(Err(Closed {
                        code: frame.code.into(),
                        reason: frame.reason.to_string(),
                    }));
                }
                Some(Ok(Message::Close(None))) => return Ok(Err(Closed::without_frame(NO_CODE))),
                // Pings are answered below us.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(Err(Closed::without_frame(NO_CLOSE))),
            }
        }
    }
}

fn request(
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

impl Closed {
    fn without_frame(code: u16) -> Self {
        Self {
            code,
            reason: String::new(),
        }
    }
}
