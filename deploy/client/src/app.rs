//! Asking the gateway.

use std::time::Duration;

use anyhow::Context;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::people::Person;
use crate::socket::Socket;

/// Longer than the gateway lets any request take: its answer says more than our giving up.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The app on somebody's phone; cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    http: reqwest::Client,
    gateway_url: String,
}

/// A request that is being put together.
#[derive(Debug)]
pub struct Ask {
    builder: reqwest::RequestBuilder,
    asked: String,
}

impl App {
    /// Talks to the gateway at `http://host:port`.
    pub fn new(gateway_url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            gateway_url: gateway_url.trim_end_matches('/').to_owned(),
        })
    }

    /// The gateway's address, without a slash at its end.
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Any request. `path` begins with a slash and may have a query.
    pub fn request(&self, method: Method, path: &str) -> Ask {
        let url = format!("{}{path}", self.gateway_url);
        Ask {
            asked: format!("{method} {path}"),
            builder: self.http.request(method, url),
        }
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Ask {
        self.request(Method::GET, path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> Ask {
        self.request(Method::POST, path)
    }

    /// A PUT.
    pub fn put(&self, path: &str) -> Ask {
        self.request(Method::PUT, path)
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> Ask {
        self.request(Method::DELETE, path)
    }

    /// `GET /wallet/balance`.
    pub async fn balance(&self, person: &Person) -> anyhow::Result<Answer> {
        self.get("/wallet/balance").of(person).send().await
    }

    /// `POST /calls/recharge` by UPI, paid by the sandbox.
    pub async fn recharge(&self, person: &Person, amount_rupees: u32) -> anyhow::Result<Answer> {
        let body = json!({"amount_rupees": amount_rupees, "payment_method": "upi"});
        let ask = self.post("/calls/recharge").of(person);
        ask.json(&body).send().await
    }

    /// `POST /calls/start`; `call_type` is `audio` or `video`.
    pub async fn start_call(
        &self,
        caller: &Person,
        listener: &Person,
        call_type: &str,
    ) -> anyhow::Result<Answer> {
        let body = json!({"listener_id": listener.user_id, "call_type": call_type});
        let ask = self.post("/calls/start").of(caller);
        ask.json(&body).send().await
    }

    /// `POST /calls/bill-minute/{call_id}`.
    pub async fn bill_minute(&self, person: &Person, call_id: i64) -> anyhow::Result<Answer> {
        let path = format!("/calls/bill-minute/{call_id}");
        self.post(&path).of(person).send().await
    }

    /// `POST /calls/end` with the default reason.
    pub async fn end_call(&self, person: &Person, call_id: i64) -> anyhow::Result<Answer> {
        let ask = self.post("/calls/end").of(person);
        ask.json(&json!({"call_id": call_id})).send().await
    }

    /// `GET /calls/ongoing`.
    pub async fn ongoing_call(&self, person: &Person) -> anyhow::Result<Answer> {
        self.get("/calls/ongoing").of(person).send().await
    }

    /// `GET /users/me/status`.
    pub async fn status(&self, person: &Person) -> anyhow::Result<Answer> {
        self.get("/users/me/status").of(person).send().await
    }

    /// Opens a socket, such as `/ws/presence`, with the token in a header.
    pub async fn socket(&self, path: &str, person: &Person) -> anyhow::Result<Socket> {
        Socket::open(&self.gateway_url, path, Some(&person.access_token)).await
    }
}

impl Ask {
    /// With somebody's access token.
    #[must_use]
    pub fn of(self, person: &Person) -> Self {
        self.bearer(&person.access_token)
    }

    /// With any token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.with(|builder| builder.bearer_auth(token))
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.with(|builder| builder.json(body))
    }

    /// With a body that is what it is.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.with(|builder| builder.header("content-type", content_type).body(body))
    }

    /// With a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|builder| builder.header(name, value))
    }

    /// With query parameters, which it encodes.
    #[must_use]
    pub fn query(self, parameters: &(impl Serialize + ?Sized)) -> Self {
        self.with(|builder| builder.query(parameters))
    }

    /// Asks. Any answer is fine, none is an error.
    pub async fn send(self) -> anyhow::Result<Answer> {
        let Self { builder, asked } = self;
        let response = builder.send().await;
        let response = response.with_context(|| format!("{asked} was not answered"))?;
        Answer::read(asked, response).await
    }

    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self {
            builder: change(self.builder),
            asked: self.asked,
        }
    }
}
