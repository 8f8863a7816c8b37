//! Calls that ring, through two gateways: the caller uses one, and the listener's devices the other.

mod answers;
mod lists;
mod outcomes;
mod races;
mod refusals;
mod sockets;

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiClient, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, read_variable, wait_for};

/// Coins of a caller who has recharged once.
const COINS: i64 = 300;

/// A caller at one gateway and a listener at the other.
struct RingingPair {
    pair: CallPair,
    listener_gateway: ApiClient,
}

impl RingingPair {
    async fn sign_up() -> Self {
        Self::at_two_gateways(CallPair::sign_up().await)
    }

    async fn sign_up_without_coins() -> Self {
        Self::at_two_gateways(CallPair::sign_up_without_coins().await)
    }

    fn at_two_gateways(pair: CallPair) -> Self {
        let listener_gateway =
            ApiClient::new(&read_variable("GATEWAY_2_URL")).expect("a valid address");
        Self {
            pair,
            listener_gateway,
        }
    }

    /// Rings the listener, and returns the answer, which may be a refusal.
    async fn ring(&self) -> ApiAnswer {
        self.ring_for("audio").await
    }

    async fn ring_for(&self, call_type: &str) -> ApiAnswer {
        ring(
            &self.pair.app,
            &self.pair.caller,
            &self.pair.listener,
            call_type,
        )
        .await
    }

    /// Rings the listener, which must succeed, and returns the id of the call.
    async fn start_ring(&self) -> i64 {
        self.pair.start_ring().await
    }

    async fn accept(&self, call_id: i64) -> ApiAnswer {
        accept(&self.listener_gateway, &self.pair.listener, call_id).await
    }

    async fn reject(&self, call_id: i64, body: &Value) -> ApiAnswer {
        let path = format!("/calls/{call_id}/reject");
        let request = self
            .listener_gateway
            .post(&path)
            .as_user(&self.pair.listener);
        request.json(body).answer().await
    }

    async fn cancel(&self, call_id: i64) -> ApiAnswer {
        let path = format!("/calls/{call_id}/cancel");
        self.pair
            .app
            .post(&path)
            .as_user(&self.pair.caller)
            .answer()
            .await
    }

    async fn acknowledge(&self, call_id: i64) -> ApiAnswer {
        let path = format!("/calls/{call_id}/ringing");
        let request = self
            .listener_gateway
            .post(&path)
            .as_user(&self.pair.listener);
        request.answer().await
    }

    /// How the call stands for the caller and for the listener, each at their gateway.
    async fn states(&self, call_id: i64) -> [Value; 2] {
        let path = format!("/calls/{call_id}/state");
        let of_caller = self.pair.app.get(&path).as_user(&self.pair.caller).answer();
        let of_listener = self
            .listener_gateway
            .get(&path)
            .as_user(&self.pair.listener);
        let (of_caller, of_listener) = tokio::join!(of_caller, of_listener.answer());
        assert_eq!(of_caller.status, 200, "{of_caller:?}");
        assert_eq!(of_listener.status, 200, "{of_listener:?}");
        [of_caller.body, of_listener.body]
    }

    /// Asserts that the ring ended in this way for both, without cost, and that both are free.
    async fn assert_unanswered(&self, call_id: i64, outcome: &str, reason: &str) {
        for state in self.states(call_id).await {
            assert_eq!(
                (&state["status"], &state["outcome"], &state["reason"]),
                (&json!("unanswered"), &json!(outcome), &json!(reason)),
                "{state}"
            );
        }
        assert_eq!(self.pair.load_coins().await, COINS);
        wait_for("both to be free", || async {
            self.pair.are_both_free().await.then_some(())
        })
        .await;
    }
}

async fn ring(app: &ApiClient, caller: &AppUser, listener: &AppUser, call_type: &str) -> ApiAnswer {
    let body = json!({"listener_id": listener.user_id, "call_type": call_type, "ring": true});
    app.post("/calls/start")
        .as_user(caller)
        .json(&body)
        .answer()
        .await
}

async fn accept(gateway: &ApiClient, device: &AppUser, call_id: i64) -> ApiAnswer {
    let path = format!("/calls/{call_id}/accept");
    gateway.post(&path).as_user(device).answer().await
}
