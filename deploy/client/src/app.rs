//! Requests to the gateway.

use std::time::Duration;

use anyhow::Context;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::ApiAnswer;
use crate::socket::AppSocket;
use crate::users::AppUser;

/// Time limit of a request, longer than that of the gateway, whose answer explains more.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A client of the API, as the app on a phone; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiClient {
    http: reqwest::Client,
    gateway_url: String,
}

/// A request that is not sent yet.
#[derive(Debug)]
pub struct ApiRequest {
    builder: reqwest::RequestBuilder,
    request_line: String,
}

impl ApiClient {
    /// Returns a client of the gateway at `http://host:port`.
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

    /// Returns the address of the gateway, without a slash at its end.
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Prepares any request. `path` begins with a slash and may have a query.
    pub fn request(&self, method: Method, path: &str) -> ApiRequest {
        let url = format!("{}{path}", self.gateway_url);
        ApiRequest {
            request_line: format!("{method} {path}"),
            builder: self.http.request(method, url),
        }
    }

    /// Prepares a GET.
    pub fn get(&self, path: &str) -> ApiRequest {
        self.request(Method::GET, path)
    }

    /// Prepares a POST.
    pub fn post(&self, path: &str) -> ApiRequest {
        self.request(Method::POST, path)
    }

    /// Prepares a PUT.
    pub fn put(&self, path: &str) -> ApiRequest {
        self.request(Method::PUT, path)
    }

    /// Prepares a DELETE.
    pub fn delete(&self, path: &str) -> ApiRequest {
        self.request(Method::DELETE, path)
    }

    /// Sends `GET /wallet/balance`.
    pub async fn load_balance(&self, user: &AppUser) -> anyhow::Result<ApiAnswer> {
        self.get("/wallet/balance").as_user(user).send().await
    }

    /// Sends `POST /calls/recharge` for UPI, which the sandbox pays.
    pub async fn recharge(&self, user: &AppUser, amount_rupees: u32) -> anyhow::Result<ApiAnswer> {
        let body = json!({"amount_rupees": amount_rupees, "payment_method": "upi"});
        let request = self.post("/calls/recharge").as_user(user);
        request.json(&body).send().await
    }

    /// Sends `POST /calls/start` with `ring`, so that the listener's devices ring; `call_type` is `audio` or
    /// `video`.
    pub async fn ring_listener(
        &self,
        caller: &AppUser,
        listener: &AppUser,
        call_type: &str,
    ) -> anyhow::Result<ApiAnswer> {
        let body = json!({
            "listener_id": listener.user_id,
            "call_type": call_type,
            "ring": true,
            "media": "own",
        });
        let request = self.post("/calls/start").as_user(caller);
        request.json(&body).send().await
    }

    /// Sends `POST /calls/{call_id}/ringing`: a device of the listener rings.
    pub async fn acknowledge_ring(
        &self,
        listener: &AppUser,
        call_id: i64,
    ) -> anyhow::Result<ApiAnswer> {
        let path = format!("/calls/{call_id}/ringing");
        self.post(&path).as_user(listener).send().await
    }

    /// Sends `POST /calls/{call_id}/accept`.
    pub async fn accept_call(&self, listener: &AppUser, call_id: i64) -> anyhow::Result<ApiAnswer> {
        let path = format!("/calls/{call_id}/accept");
        self.post(&path).as_user(listener).send().await
    }

    /// Sends `POST /calls/{call_id}/cancel`.
    pub async fn cancel_call(&self, caller: &AppUser, call_id: i64) -> anyhow::Result<ApiAnswer> {
        let path = format!("/calls/{call_id}/cancel");
        self.post(&path).as_user(caller).send().await
    }

    /// Sends `GET /calls/unanswered` for calls that the user was rung for.
    pub async fn list_missed_calls(&self, user: &AppUser) -> anyhow::Result<ApiAnswer> {
        let request = self.get("/calls/unanswered?direction=incoming");
        request.as_user(user).send().await
    }

    /// Sends `POST /calls/bill-minute/{call_id}`.
    pub async fn bill_minute(&self, user: &AppUser, call_id: i64) -> anyhow::Result<ApiAnswer> {
        let path = format!("/calls/bill-minute/{call_id}");
        self.post(&path).as_user(user).send().await
    }

    /// Sends `POST /calls/end` with the default reason.
    pub async fn end_call(&self, user: &AppUser, call_id: i64) -> anyhow::Result<ApiAnswer> {
        let request = self.post("/calls/end").as_user(user);
        request.json(&json!({"call_id": call_id})).send().await
    }

    /// Sends `GET /calls/ongoing`.
    pub async fn load_ongoing_call(&self, user: &AppUser) -> anyhow::Result<ApiAnswer> {
        self.get("/calls/ongoing").as_user(user).send().await
    }

    /// Sends `GET /users/me/status`.
    pub async fn load_status(&self, user: &AppUser) -> anyhow::Result<ApiAnswer> {
        self.get("/users/me/status").as_user(user).send().await
    }

    /// Opens a socket, such as `/ws/presence`, with the token in a header.
    pub async fn connect_socket(&self, path: &str, user: &AppUser) -> anyhow::Result<AppSocket> {
        AppSocket::open(&self.gateway_url, path, Some(&user.access_token)).await
    }
}

impl ApiRequest {
    /// Adds the access token of a user.
    #[must_use]
    pub fn as_user(self, user: &AppUser) -> Self {
        self.bearer(&user.access_token)
    }

    /// Adds any token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.with(|builder| builder.bearer_auth(token))
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.with(|builder| builder.json(body))
    }

    /// Adds a body of any type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.with(|builder| builder.header("content-type", content_type).body(body))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|builder| builder.header(name, value))
    }

    /// Adds query parameters.
    #[must_use]
    pub fn query(self, parameters: &(impl Serialize + ?Sized)) -> Self {
        self.with(|builder| builder.query(parameters))
    }

    /// Sends the request. An answer with any status is a result; a missing answer is an error.
    pub async fn send(self) -> anyhow::Result<ApiAnswer> {
        let Self {
            builder,
            request_line,
        } = self;
        let response = builder.send().await;
        let response = response.with_context(|| format!("{request_line} was not answered"))?;
        ApiAnswer::read(request_line, response).await
    }

    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self {
            builder: change(self.builder),
            request_line: self.request_line,
        }
    }
}
