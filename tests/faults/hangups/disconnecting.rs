//! Clients that disconnect in the middle of their requests.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use talktime_client::AppUser;
use talktime_tests::CallPair;
use talktime_tests::document::{ApiDocument, ApiOperation};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Time between two requests of one client.
pub(super) const PACE: Duration = Duration::from_secs(1);
/// Longest time before a client resets its connection.
const RESET_DELAY_MS_MAX: u64 = 12;
/// Requests that would end the sessions of the other requests.
const ENDS_SESSIONS: [&str; 5] = [
    "/auth/logout",
    "/auth/logout_all",
    "/auth/refresh",
    "/auth/sessions/{session_id}",
    "DELETE /users/me",
];

/// The generator splitmix64, which chooses delays and endpoints.
#[derive(Default)]
pub(super) struct RandomSource(AtomicU64);

impl RandomSource {
    fn draw_below(&self, bound: u64) -> u64 {
        let mut value = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) % bound
    }
}

/// A request that any user can send, as bytes.
pub(super) struct RawRequest {
    method: String,
    path: String,
    body: String,
}

impl RawRequest {
    fn sample(document: &ApiDocument, operation: &ApiOperation, listener: &AppUser) -> Self {
        let body = match operation.path.as_str() {
            "/calls/start" => Some(json!({"listener_id": listener.user_id, "call_type": "audio"})),
            _ => document.sample_body(operation),
        };
        // The number is a valid id for some endpoints and is refused by others; both are requests.
        let path = operation.path.split('/').map(|part| match part {
            "" => String::new(),
            part if part.starts_with('{') => "/1".to_owned(),
            part => format!("/{part}"),
        });
        Self {
            method: operation.method.clone(),
            path: path.collect(),
            body: body.map(|body| body.to_string()).unwrap_or_default(),
        }
    }

    fn to_bytes(&self, token: &str) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: talktime\r\n",
            self.method, self.path
        );
        let _ = write!(text, "authorization: Bearer {token}\r\n");
        if !self.body.is_empty() {
            let length = self.body.len();
            let _ = write!(
                text,
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            );
        }
        let _ = write!(text, "\r\n{}", self.body);
        text.into_bytes()
    }
}

/// Sends a request and resets the connection a moment later.
async fn send_and_disconnect(address: &str, request: &[u8], delay: Duration) {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_zero_linger()?;
        stream.write_all(request).await?;
        tokio::time::sleep(delay).await;
        std::io::Result::Ok(())
    };
    // A connection that the gateway does not accept has no effect either.
    let _ = attempt.await;
}

/// Returns the requests of the disconnecting clients of a pair.
pub(super) async fn sample_requests(pair: &CallPair) -> Vec<RawRequest> {
    let document = ApiDocument::read(&pair.app).await;
    let operations = document.list_operations().into_iter().filter(|operation| {
        let name = format!("{} {}", operation.method, operation.path);
        !ENDS_SESSIONS.contains(&operation.path.as_str()) && !ENDS_SESSIONS.contains(&name.as_str())
    });
    let mut requests: Vec<RawRequest> = operations
        .map(|operation| RawRequest::sample(&document, &operation, &pair.listener))
        .collect();
    // These requests involve the most parts, so they are as frequent as all the others together.
    let frequent = ["/calls/start", "/calls/recharge", "/payments/orders"];
    for path in frequent {
        let found = requests.iter().position(|request| request.path == path);
        let found = found.unwrap_or_else(|| panic!("{path} is in the document"));
        for _ in 0..12 {
            let request = &requests[found];
            requests.push(RawRequest {
                method: request.method.clone(),
                path: request.path.clone(),
                body: request.body.clone(),
            });
        }
    }
    requests
}

/// Sends requests and disconnects, as caller and as listener; returns how often.
pub(super) async fn disconnect_repeatedly(
    pair: Arc<CallPair>,
    requests: Arc<Vec<RawRequest>>,
    random: Arc<RandomSource>,
    end: Instant,
) -> u64 {
    let address = pair
        .app
        .gateway_url()
        .trim_start_matches("http://")
        .to_owned();
    let mut count = 0;
    while Instant::now() < end {
        let user = if random.draw_below(4) == 0 {
            &pair.listener
        } else {
            &pair.caller
        };
        let index = usize::try_from(random.draw_below(requests.len() as u64)).expect("an index");
        let delay = Duration::from_millis(random.draw_below(RESET_DELAY_MS_MAX + 1));
        send_and_disconnect(
            &address,
            &requests[index].to_bytes(&user.access_token),
            delay,
        )
        .await;
        count += 1;
        tokio::time::sleep(PACE).await;
    }
    count
}
