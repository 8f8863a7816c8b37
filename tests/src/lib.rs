//! What the whole-system suites share: the stack that `cargo dev test` brought up, people on it, and
//! waiting for a state.
//!
//! The suites speak only REST, WebSocket and NATS, as the world does. Where a test breaks something
//! on purpose, it does so through the runner (`stop`, `kill`, `restart`).

pub mod audio;
pub mod document;
mod events;
pub mod photo;
pub mod picture;
pub mod replica;

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiClient, ApiRequest, AppSocket, AppUser, OtpInbox, UserRole};

pub use events::EventLog;

/// How long a state may take to come, at most.
pub const WAIT_MAX: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(50);

/// A variable of the stack, as `cargo dev env` prints it.
pub fn read_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo dev test`"))
}

/// The app on the test stack, and the phone that receives its text messages.
pub struct TestApp {
    app: ApiClient,
    inbox: OtpInbox,
}

/// The app, talking to the test stack's gateway.
pub async fn connect_app() -> TestApp {
    let app = ApiClient::new(&read_variable("GATEWAY_URL")).expect("a valid address");
    let inbox = OtpInbox::connect(&read_variable("REDIS_URL"))
        .await
        .expect("Redis is up");
    TestApp { app, inbox }
}

impl Deref for TestApp {
    type Target = ApiClient;

    fn deref(&self) -> &ApiClient {
        &self.app
    }
}

impl TestApp {
    /// Someone new; another one where an answer came too late.
    pub async fn sign_up(&self, role: UserRole) -> AppUser {
        wait_for("somebody to sign up", || async {
            Box::pin(self.app.sign_up(&self.inbox, role)).await.ok()
        })
        .await
    }

    /// The code that was sent to a phone last.
    pub async fn read_otp(&self, phone: &str) -> String {
        self.inbox.read_otp(phone).await.expect("a code was sent")
    }

    /// The same person on a second device.
    pub async fn log_in_again(&self, person: &AppUser) -> AppUser {
        wait_for("somebody to log in", || async {
            Box::pin(self.app.log_in(&self.inbox, person)).await.ok()
        })
        .await
    }

    /// The same person, logged in at another gateway.
    pub async fn log_in_at(&self, gateway: &ApiClient, person: &AppUser) -> AppUser {
        wait_for("somebody to log in elsewhere", || async {
            Box::pin(gateway.log_in(&self.inbox, person)).await.ok()
        })
        .await
    }

    /// Opens a socket as this person.
    pub async fn open_socket(&self, path: &str, person: &AppUser) -> AppSocket {
        self.app
            .connect_socket(path, person)
            .await
            .expect("the socket opens")
    }
}

/// Any answer is one; only silence fails the test.
pub trait ExpectAnswer {
    /// Asks, and takes whatever comes.
    fn answer(self) -> impl Future<Output = ApiAnswer>;
}

impl ExpectAnswer for ApiRequest {
    async fn answer(self) -> ApiAnswer {
        self.send().await.expect("the gateway answers")
    }
}

/// Runs a command of the runner on the test stack; panics with its output where it fails.
pub async fn run_dev(arguments: &[&str]) -> String {
    let output = run_dev_output(arguments).await;
    assert!(
        output.status.success(),
        "cargo dev {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command of the runner that may fail; answers whether it did not.
pub async fn try_dev(arguments: &[&str]) -> bool {
    run_dev_output(arguments).await.status.success()
}

async fn run_dev_output(arguments: &[&str]) -> std::process::Output {
    tokio::process::Command::new(read_variable("TALKTIME_DEV"))
        .args(["--stack", "test"])
        .args(arguments)
        .output()
        .await
        .expect("the runner runs")
}

/// Fails where a wallet disagrees with its journal.
pub async fn assert_books_are_right() {
    run_dev(&["run", "wallet", "verify"]).await;
}

/// Keys of calls, so that each is a call of its own.
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// Asks again after a 503, as the app would, with the same Idempotency-Key: on a busy machine an
/// answer may come too late. A start that came to nothing holds both people until it is undone.
async fn retry_after_503<F>(what: &str, mut ask: impl FnMut() -> F) -> ApiAnswer
where
    F: Future<Output = ApiAnswer>,
{
    let first = ask().await;
    if first.status != 503 {
        return first;
    }
    wait_for(what, || {
        let again = ask();
        async move { Some(again.await).filter(|answer| ![503, 409].contains(&answer.status)) }
    })
    .await
}

/// Waits until `probe` answers something, up to [`WAIT_MAX`].
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
    /// The app that both use.
    pub app: TestApp,
    /// Has 300 coins at first.
    pub caller: AppUser,
    /// Online.
    pub listener: AppUser,
}

impl CallPair {
    /// Signs two new people up and buys the caller coins.
    pub async fn sign_up() -> Self {
        let pair = Self::sign_up_without_coins().await;
        let body = json!({"amount_rupees": 150, "payment_method": "upi"});
        let recharged = retry_after_503("a recharge", || {
            let ask = pair.app.post("/calls/recharge").as_user(&pair.caller);
            ask.header("idempotency-key", "first").json(&body).answer()
        })
        .await;
        assert_eq!(recharged.status, 200, "{recharged:?}");
        pair
    }

    /// Signs two new people up.
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

    /// Asks for an audio call.
    pub async fn request_call(&self) -> ApiAnswer {
        self.app
            .post("/calls/start")
            .as_user(&self.caller)
            .json(&json!({"listener_id": self.listener.user_id, "call_type": "audio"}))
            .answer()
            .await
    }

    /// Starts an audio call that must start; answers its id.
    pub async fn start_call(&self) -> i64 {
        let body = json!({"listener_id": self.listener.user_id, "call_type": "audio"});
        let key = format!("{}", NEXT_KEY.fetch_add(1, Ordering::Relaxed));
        let started = retry_after_503("a call", || {
            let ask = self.app.post("/calls/start").as_user(&self.caller);
            ask.header("idempotency-key", &key).json(&body).answer()
        })
        .await;
        assert_eq!(started.status, 200, "{started:?}");
        started.body["call_id"].as_i64().expect("a call id")
    }

    /// Ends a call as this person.
    pub async fn end_call(&self, person: &AppUser, call_id: i64) -> ApiAnswer {
        self.app
            .post("/calls/end")
            .as_user(person)
            .json(&json!({"call_id": call_id}))
            .answer()
            .await
    }

    /// The caller's coins.
    pub async fn load_coins(&self) -> i64 {
        self.load_balance(&self.caller).await["balance_coins"]
            .as_i64()
            .expect("coins")
    }

    /// Rupees that the listener may withdraw.
    pub async fn load_earned(&self) -> Value {
        self.load_balance(&self.listener).await["withdrawable_money"].clone()
    }

    /// A person's balance, waiting out a wallet that is restarting.
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

    /// What `/calls/ongoing` tells a person.
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

    /// Whether both are free, as calls and presence see it.
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
