//! Answers of the gateway.

use anyhow::{Context, ensure};
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer with any status.
#[derive(Clone, Debug)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: HeaderMap,
    /// The JSON body; null if the answer has none.
    pub body: Value,
    /// The request, for messages: `POST /calls/start`.
    request_line: String,
}

impl ApiAnswer {
    pub(crate) async fn read(
        request_line: String,
        response: reqwest::Response,
    ) -> anyhow::Result<Self> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{request_line}: the answer is not JSON"))?
        };
        Ok(Self {
            status,
            headers,
            body,
            request_line,
        })
    }

    /// Returns the body of an answer with status 200; any other answer is an error.
    pub fn into_body(self) -> anyhow::Result<Value> {
        let Self {
            request_line,
            status,
            body,
            ..
        } = self;
        ensure!(status == 200, "{request_line} answered {status}: {body}");
        Ok(body)
    }

    /// Returns the stable code of a problem document, or an empty text for any other answer.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
