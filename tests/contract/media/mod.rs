//! Calls that the platform carries, through two gateways: the caller has a socket at one, and the listener at the
//! other.

mod meter;
mod relays;
mod seats;
mod signals;

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiClient, AppSocket, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, WAIT_MAX, assert_books_are_right, read_variable};

use crate::sockets::open;

/// Coins of a caller who has recharged once.
const COINS: i64 = 300;
/// Price of a minute in coins.
const PRICE: i64 = 10;

/// A call of two people with sockets at different gateways.
struct MediaCall {
    pair: CallPair,
    listener_gateway: ApiClient,
    call_id: i64,
    caller_socket: AppSocket,
    listener_socket: AppSocket,
}

impl MediaCall {
    /// Rings the listener for a call that the platform carries.
    async fn ring() -> Self {
        let pair = CallPair::sign_up().await;
        let gateway_url = read_variable("GATEWAY_2_URL");
        let listener_gateway = ApiClient::new(&gateway_url).expect("a valid address");
        let (caller_socket, _) = open(&pair.app, "/ws/calls", &pair.caller).await;
        let (listener_socket, _) = open(&listener_gateway, "/ws/calls", &pair.listener).await;
        let started = start(&pair, &json!({"ring": true, "media": "platform"})).await;
        assert_eq!(started.status, 200, "{started:?}");
        assert_eq!(started.body["media"], "platform", "{started:?}");
        let call_id = started.body["call_id"].as_i64().expect("an id");
        Self {
            pair,
            listener_gateway,
            call_id,
            caller_socket,
            listener_socket,
        }
    }

    /// Rings the listener, who accepts.
    async fn accepted() -> Self {
        let call = Self::ring().await;
        let accepted = call.accept().await;
        assert_eq!(accepted.status, 200, "{accepted:?}");
        assert_eq!(accepted.body["status"], "connecting", "{accepted:?}");
        call
    }

    /// A call in which both have a seat; returns the epochs of caller and listener.
    async fn joined() -> (Self, i64, i64) {
        let mut call = Self::accepted().await;
        let call_id = call.call_id;
        let caller = join(&mut call.caller_socket, call_id).await;
        let listener = join(&mut call.listener_socket, call_id).await;
        let epoch = |joined: &Value| joined["epoch"].as_i64().expect("an epoch");
        (call, epoch(&caller), epoch(&listener))
    }

    /// A live call in which both are connected; returns the epochs of caller and listener.
    async fn live() -> (Self, i64, i64) {
        let (mut call, caller_epoch, listener_epoch) = Self::joined().await;
        call.report_both(caller_epoch, listener_epoch, "connected")
            .await;
        next_of(&mut call.caller_socket, "call_started", call.call_id).await;
        (call, caller_epoch, listener_epoch)
    }

    /// Reports the connections of both apps, the caller's first.
    async fn report_both(&mut self, caller_epoch: i64, listener_epoch: i64, state: &str) {
        report(&mut self.caller_socket, self.call_id, caller_epoch, state).await;
        report(
            &mut self.listener_socket,
            self.call_id,
            listener_epoch,
            state,
        )
        .await;
    }

    async fn accept(&self) -> ApiAnswer {
        let path = format!("/calls/{}/accept", self.call_id);
        let request = self.listener_gateway.post(&path);
        request.as_user(&self.pair.listener).answer().await
    }

    async fn state(&self) -> Value {
        let path = format!("/calls/{}/state", self.call_id);
        let request = self.pair.app.get(&path).as_user(&self.pair.caller);
        request.answer().await.body
    }

    /// Asserts that the caller has paid the minutes of an answer, at least so many, and nothing else.
    async fn assert_paid(&self, answer: &Value, minutes_min: i64) {
        let minutes = answer["duration_minutes"].as_i64().expect("minutes");
        assert!(minutes >= minutes_min, "{answer}");
        assert_eq!(self.pair.load_coins().await, COINS - PRICE * minutes);
        assert_books_are_right().await;
    }

    async fn receipt(&self) -> Value {
        let path = format!("/calls/{}", self.call_id);
        let request = self.pair.app.get(&path).as_user(&self.pair.caller);
        request.answer().await.body
    }
}

/// Starts an audio call with these further fields.
async fn start(pair: &CallPair, fields: &Value) -> ApiAnswer {
    let mut body = json!({"listener_id": pair.listener.user_id, "call_type": "audio"});
    for (name, value) in fields.as_object().expect("fields") {
        body[name] = value.clone();
    }
    let request = pair.app.post("/calls/start").as_user(&pair.caller);
    request.json(&body).answer().await
}

/// Takes a seat over REST.
async fn join_by_rest(
    gateway: &ApiClient,
    user: &AppUser,
    call_id: i64,
    body: &Value,
) -> ApiAnswer {
    let path = format!("/calls/{call_id}/join");
    gateway.post(&path).as_user(user).json(body).answer().await
}

async fn send(socket: &mut AppSocket, r#type: &str, data: Value) {
    let message = json!({"type": r#type, "data": data});
    socket.send(&message).await.expect("sent");
}

/// Receives the next message of this type about a call, and returns its data.
async fn next_of(socket: &mut AppSocket, r#type: &str, call_id: i64) -> Value {
    let is_about_call =
        |message: &Value| message["type"] == r#type && message["data"]["call_id"] == call_id;
    let received = socket
        .receive_matching(r#type, WAIT_MAX, is_about_call)
        .await;
    received.expect("a message about the call")["data"].take()
}

/// Receives the next error, and returns its code.
async fn next_error(socket: &mut AppSocket) -> String {
    let error = socket.receive_type("error", WAIT_MAX).await;
    let error = error.expect("an error");
    error["data"]["code"].as_str().expect("a code").to_owned()
}

/// Takes a seat on a socket, and returns the answer that the app gets. As apps do, it joins again if the platform is too
/// busy.
async fn join(socket: &mut AppSocket, call_id: i64) -> Value {
    let is_answer = |message: &Value| message["type"] == "joined" || message["type"] == "error";
    loop {
        send(socket, "join", json!({"call_id": call_id})).await;
        let answer = socket.receive_matching("answer to a join", WAIT_MAX, is_answer);
        let mut answer = answer.await.expect("an answer");
        if answer["type"] == "joined" {
            return answer["data"].take();
        }
        assert_eq!(answer["data"]["code"], "TRY_AGAIN", "{answer}");
    }
}

/// Reports the connection of an app.
async fn report(socket: &mut AppSocket, call_id: i64, epoch: i64, state: &str) {
    let data = json!({"call_id": call_id, "epoch": epoch, "state": state});
    send(socket, "media", data).await;
}

/// Receives the next message that the media has this state, and returns its data.
async fn next_state(socket: &mut AppSocket, call_id: i64, state: &str) -> Value {
    let is_state_of_call = |message: &Value| {
        let data = &message["data"];
        message["type"] == "media_state" && data["call_id"] == call_id && data["state"] == state
    };
    let received = socket
        .receive_matching("media_state", WAIT_MAX, is_state_of_call)
        .await;
    received.expect("the state of the media")["data"].take()
}
