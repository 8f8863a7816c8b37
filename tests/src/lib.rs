//! Helpers of the suites that test the whole system: the stack that `cargo dev test` has started, users, and waiting
//! for a state.
//!
//! The suites use REST, WebSocket and NATS, and gRPC where a state cannot be reached otherwise. Tests of faults use the
//! runner (`stop`, `kill`, `restart`).

pub mod audio;
pub mod document;
mod events;
pub mod photo;
pub mod picture;
pub mod replica;
pub mod rpc;

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use talktime_client::{
    ApiAnswer, ApiClient, ApiRequest, AppSocket, AppUser, NewAppUser, OtpInbox, StoreAddress,
    UserRole,
};
use talktime_kit::messaging;
use talktime_kit::testing::operator_nats;
use talktime_proto::access::v1::Workload;
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use talktime_proto::wallet::v1::{ChargeBatchRequest, ChargeRequest};
use tonic::transport::Channel;

pub use events::EventLog;

/// Longest wait for a state.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// The services with a schema of their own.
pub const SERVICES: [&str; 6] = [
    "auth",
    "profile",
    "presence",
    "wallet",
    "calls",
    "verification",
];

const POLL: Duration = Duration::from_millis(50);

/// Reads a variable of the stack, as `cargo dev env` prints it.
pub fn read_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo dev test`"))
}

/// Returns an HTTP client that trusts the certificate of the stack's object store.
pub fn object_store_client() -> reqwest::Client {
    let authority = std::fs::read(read_variable("S3_CA_FILE")).expect("the stack has issued it");
    let authority = reqwest::Certificate::from_pem(&authority).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([authority]);
    client.build().expect("valid settings")
}

/// Connects to NATS as its operator.
pub async fn connect_nats() -> async_nats::Client {
    let config = operator_nats(read_variable("NATS_URL"));
    let connected = messaging::connect_as_operator(&config).await;
    connected.expect("NATS is up")
}

/// Returns a channel to a service of the test stack, as another of its processes would open it. It connects when it is
/// first used.
pub fn connect_as(caller: Workload, peer: Workload) -> Channel {
    let url = read_variable(&format!("{}_GRPC_URL", peer.name().to_uppercase()));
    rpc::connect_to(&url, caller, peer)
}

/// A client of the test stack with access to one-time passwords.
pub struct TestApp {
    app: ApiClient,
    inbox: OtpInbox,
}

/// Connects to the gateway of the test stack.
pub async fn connect_app() -> TestApp {
    let app = ApiClient::new(&read_variable("GATEWAY_URL")).expect("a valid address");
    let redis = StoreAddress::from_variables("REDIS").expect("set by `cargo dev test`");
    let inbox = OtpInbox::connect(&redis).await.expect("Redis is up");
    TestApp { app, inbox }
}

impl Deref for TestApp {
    type Target = ApiClient;

    fn deref(&self) -> &ApiClient {
        &self.app
    }
}

impl TestApp {
    /// Signs up a user; after a late answer it tries again with another one.
    pub async fn sign_up(&self, role: UserRole) -> AppUser {
        wait_for("somebody to sign up", || async {
            Box::pin(self.app.sign_up(&self.inbox, role)).await.ok()
        })
        .await
    }

    /// Signs up a user with the phone of an account that was deleted.
    pub async fn sign_up_with_phone(&self, phone: &str) -> AppUser {
        wait_for("somebody to sign up again", || async {
            let new = NewAppUser {
                phone: phone.to_owned(),
                ..NewAppUser::with_name("again", UserRole::User)
            };
            Box::pin(self.app.sign_up_as(&self.inbox, new)).await.ok()
        })
        .await
    }

    /// Signs up a user and grants them the role admin.
    pub async fn sign_up_admin(&self) -> AppUser {
        let admin = self.sign_up(UserRole::User).await;
        run_dev(&["grant-admin", &admin.phone]).await;
        admin
    }

    /// Reads the last code for a phone.
    pub async fn read_otp(&self, phone: &str) -> String {
        self.inbox.read_otp(phone).await.expect("a code was sent")
    }

    /// Logs a user in on a second device.
    pub async fn log_in_again(&self, person: &AppUser) -> AppUser {
        wait_for("somebody to log in", || async {
            Box::pin(self.app.log_in(&self.inbox, person)).await.ok()
        })
        .await
    }

    /// Logs a user in at another gateway.
    pub async fn log_in_at(&self, gateway: &ApiClient, person: &AppUser) -> AppUser {
        wait_for("somebody to log in elsewhere", || async {
            Box::pin(gateway.log_in(&self.inbox, person)).await.ok()
        })
        .await
    }

    /// Opens a socket of a user.
    pub async fn open_socket(&self, path: &str, person: &AppUser) -> AppSocket {
        self.app
            .connect_socket(path, person)
            .await
            .expect("the socket opens")
    }
}

/// Sends requests of which any answer is a result; a missing answer fails the test.
pub trait ExpectAnswer {
    /// Sends the request and returns the answer.
    fn answer(self) -> impl Future<Output = ApiAnswer>;
}

impl ExpectAnswer for ApiRequest {
    async fn answer(self) -> ApiAnswer {
        self.send().await.expect("the gateway answers")
    }
}

/// Runs a command of the runner on the test stack; panics with its output if it fails.
pub async fn run_dev(arguments: &[&str]) -> String {
    let output = run_dev_output(arguments).await;
    assert!(
        output.status.success(),
        "cargo dev {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command of the runner; returns whether it succeeded.
pub async fn try_dev(arguments: &[&str]) -> bool {
    run_dev_output(arguments).await.status.success()
}

/// Runs a command of the runner on the test stack; returns what it printed and how it ended.
pub async fn run_dev_output(arguments: &[&str]) -> std::process::Output {
    tokio::process::Command::new(read_variable("TALKTIME_DEV"))
        .args(["--stack", "test"])
        .args(arguments)
        .output()
        .await
        .expect("the runner runs")
}

/// Asserts that wallets and journal agree.
pub async fn assert_books_are_right() {
    run_dev(&["run", "wallet", "verify"]).await;
}

/// The next idempotency key of a call.
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// Repeats a request after a 503 with the same Idempotency-Key, as the app does, because answers may be late on a busy
/// machine. A failed start keeps both people busy until it is undone.
async fn retry_after_503<F>(what: &str, mut send: impl FnMut() -> F) -> ApiAnswer
where
    F: Future<Output = ApiAnswer>,
{
    let first = send().await;
    if first.status != 503 {
        return first;
    }
    wait_for(what, || {
        let again = send();
        async move { Some(again.await).filter(|answer| ![503, 409].contains(&answer.status)) }
    })
    .await
}

/// Returns the address of the database for the role of a service, such as `calls`.
pub fn read_database_url(service: &str) -> String {
    read_variable(&format!("{}_APP_DATABASE_URL", service.to_uppercase()))
}

/// Waits until `probe` returns a result, up to [`WAIT_MAX`].
pub async fn wait_for<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let wait = Box::pin(async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    let waited = tokio::time::timeout(WAIT_MAX, wait).await;
    waited.unwrap_or_else(|_| panic!("waited {WAIT_MAX:?} for {what}"))
}

/// A caller with coins and a listener who is online.
pub struct CallPair {
    /// Client of both users.
    pub app: TestApp,
    /// The caller, who has 300 coins at first.
    pub caller: AppUser,
    /// The listener, who is online.
    pub listener: AppUser,
}

impl CallPair {
    /// Signs up two users and recharges the caller.
    pub async fn sign_up() -> Self {
        let pair = Self::sign_up_without_coins().await;
        let body = json!({"amount_rupees": 150, "payment_method": "upi"});
        let recharged = retry_after_503("a recharge", || {
            let request = pair.app.post("/calls/recharge").as_user(&pair.caller);
            request
                .header("idempotency-key", "first")
                .json(&body)
                .answer()
        })
        .await;
        assert_eq!(recharged.status, 200, "{recharged:?}");
        pair
    }

    /// Signs up two users.
    pub async fn sign_up_without_coins() -> Self {
        let app = connect_app().await;
        let caller = app.sign_up(UserRole::User).await;
        let listener = app.sign_up(UserRole::Listener).await;
        Self {
            app,
            caller,
            listener,
        }
    }

    /// Requests an audio call and returns the answer.
    pub async fn request_call(&self) -> ApiAnswer {
        self.app
            .post("/calls/start")
            .as_user(&self.caller)
            .json(&json!({"listener_id": self.listener.user_id, "call_type": "audio"}))
            .answer()
            .await
    }

    /// Starts an audio call and returns its id; a refusal fails the test.
    pub async fn start_call(&self) -> i64 {
        let body = json!({"listener_id": self.listener.user_id, "call_type": "audio"});
        let key = format!("{}", NEXT_KEY.fetch_add(1, Ordering::Relaxed));
        let started = retry_after_503("a call", || {
            let request = self.app.post("/calls/start").as_user(&self.caller);
            request.header("idempotency-key", &key).json(&body).answer()
        })
        .await;
        assert_eq!(started.status, 200, "{started:?}");
        started.body["call_id"].as_i64().expect("a call id")
    }

    /// Requests a ring for an audio call under this idempotency key, and returns the answer.
    pub async fn request_ring(&self, key: &str) -> ApiAnswer {
        let listener_id = self.listener.user_id;
        let body = json!({"listener_id": listener_id, "call_type": "audio", "ring": true});
        let request = self.app.post("/calls/start").as_user(&self.caller);
        request
            .header("idempotency-key", key)
            .json(&body)
            .answer()
            .await
    }

    /// Rings the listener for an audio call, which must ring, and returns its id.
    pub async fn start_ring(&self) -> i64 {
        let key = format!("{}", NEXT_KEY.fetch_add(1, Ordering::Relaxed));
        let started = retry_after_503("a ring", || self.request_ring(&key)).await;
        assert_eq!(started.status, 200, "{started:?}");
        assert_eq!(started.body["status"], "ringing", "{started:?}");
        started.body["call_id"].as_i64().expect("a call id")
    }

    /// Accepts a ringing call as the listener.
    pub async fn accept_ring(&self, call_id: i64) -> ApiAnswer {
        let path = format!("/calls/{call_id}/accept");
        let request = self.app.post(&path).as_user(&self.listener);
        request.answer().await
    }

    /// Waits until a ring has led to no call and both users are free; returns its state for the caller.
    pub async fn wait_until_unanswered(&self, call_id: i64) -> Value {
        let path = format!("/calls/{call_id}/state");
        let state = wait_for("the ring to end", || async {
            let state = self.app.get(&path).as_user(&self.caller).answer().await;
            (state.body["status"] == "unanswered").then_some(state.body)
        })
        .await;
        wait_for("both to be free", || async {
            self.are_both_free().await.then_some(())
        })
        .await;
        state
    }

    /// Charges all coins of the caller, as if they had been spent meanwhile.
    pub async fn spend_all_coins(&self) {
        self.spend_coins_except(0).await;
    }

    /// Spends the coins of the caller except for `left`. A minute that is charged meanwhile makes it try again.
    pub async fn spend_coins_except(&self, left: i64) {
        wait_for("the coins to be spent", || async {
            let coins = self.load_coins().await - left;
            self.try_spend(coins).await.then_some(())
        })
        .await;
    }

    /// Charges coins for a call that does not exist; returns whether the caller has as many.
    async fn try_spend(&self, coins: i64) -> bool {
        let charge = ChargeRequest {
            call_id: (1 << 52) + self.caller.user_id,
            minute: 1,
            user_id: self.caller.user_id,
            coins,
            ..ChargeRequest::default()
        };
        let request = ChargeBatchRequest {
            charges: vec![charge],
        };
        let wallet = connect_as(Workload::Calls, Workload::Wallet);
        let charged = WalletServiceClient::new(wallet).charge_batch(request).await;
        let outcomes = charged.expect("answered").into_inner().outcomes;
        matches!(outcomes[0].outcome, Some(Outcome::Charged(_)))
    }

    /// Ends a call as this user.
    pub async fn end_call(&self, person: &AppUser, call_id: i64) -> ApiAnswer {
        self.app
            .post("/calls/end")
            .as_user(person)
            .json(&json!({"call_id": call_id}))
            .answer()
            .await
    }

    /// Loads the coins of the caller.
    pub async fn load_coins(&self) -> i64 {
        self.load_balance(&self.caller).await["balance_coins"]
            .as_i64()
            .expect("coins")
    }

    /// Loads the rupees that the listener may withdraw.
    pub async fn load_earned(&self) -> Value {
        self.load_balance(&self.listener).await["withdrawable_money"].clone()
    }

    /// Loads the balance of a user, after waiting for a wallet that restarts.
    pub async fn load_balance(&self, person: &AppUser) -> Value {
        wait_for("a balance", || async {
            let answer = self
                .app
                .get("/wallet/balance")
                .as_user(person)
                .answer()
                .await;
            (answer.status == 200).then_some(answer.body)
        })
        .await
    }

    /// Loads the answer of `/calls/ongoing` for a user.
    pub async fn load_ongoing_call(&self, person: &AppUser) -> Value {
        wait_for("the ongoing call", || async {
            let answer = self
                .app
                .get("/calls/ongoing")
                .as_user(person)
                .answer()
                .await;
            (answer.status == 200).then_some(answer.body)
        })
        .await
    }

    /// Whether both users are free according to calls and presence.
    pub async fn are_both_free(&self) -> bool {
        for person in [&self.caller, &self.listener] {
            let status = self
                .app
                .get("/users/me/status")
                .as_user(person)
                .answer()
                .await;
            if status.status != 200 || status.body["is_busy"] != false {
                return false;
            }
            if !self.load_ongoing_call(person).await["call_id"].is_null() {
                return false;
            }
        }
        true
    }
}
