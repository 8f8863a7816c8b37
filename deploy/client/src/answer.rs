//! What came back from the gateway.

use anyhow::{Context, ensure};
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, good or bad.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: HeaderMap,
    /// The JSON body; null when there was none.
    pub body: Value,
    /// What was asked, for messages: `POST /calls/start`.
    asked: String,
}

impl Answer {
    pub(crate) async fn read(asked: String, response: reqwest::Response) -> anyhow::Result<Self> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{asked}: the answer is not JSON"))?
        };
        Ok(Self {
            status,
            headers,
            body,
            asked,
        })
    }

    /// The body of a 200; anything else is an error that shows what came instead.
    pub fn ok(self) -> anyhow::Result<Value> {
        let Self {
            asked,
            status,
            body,
            ..
        } = self;
        ensure!(status == 200, "{asked} answered {status}: {body}");
        Ok(body)
    }

    /// The stable code of a problem document; empty for any other answer.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
