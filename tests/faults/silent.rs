//! Components that fall silent while calls are live: frozen for a while, or out of reach for good while another
//! takes their place. Their sockets stay open, so only deadlines end the waits for them.
//!
//! Every request is answered within its deadline; soon after the component is back, or replaced, everything works;
//! and nobody pays for the time after they have hung up, even if the hang-up could not be delivered.
//!
//! `TALKTIME_SILENCE_SECS` is the number of seconds for which each component is frozen, and
//! `TALKTIME_SILENCE_ROUNDS` the number of times.

use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::{AssertSqlSafe, PgPool};
use talktime_client::{ApiAnswer, ApiClient, UserRole};
use talktime_kit::testing::SilentProxy;
use talktime_tests::replica::{start_calls_replica_with, start_gateway};
use talktime_tests::{
    CallPair, ExpectAnswer, SERVICES, assert_books_are_right, read_variable, run_dev, wait_for,
};

use crate::lock_stack;
use crate::uploads::upload;

const SECS_DEFAULT: u64 = 3;
const ROUNDS_DEFAULT: u64 = 1;
/// Longer than the deadline of a statement, so that connections are discarded.
const POSTGRES_SILENCE_MIN: Duration = Duration::from_secs(8);
/// The gateway gives each request five seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(7);
const WORKS_AGAIN_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// The difference between the end of a call as its parties see it and as the server records it.
const MEASUREMENT_SLACK_SECS: i64 = 2;
/// The length of a billed minute on the test stack.
const MINUTE_SECS: i64 = 2;
const COINS_PER_MINUTE: i64 = 10;
const COINS_AT_FIRST: i64 = 300;
fn read_number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |number| number.parse().expect("a number"))
}

/// A component whose processes do not run until this is dropped.
pub(crate) struct FrozenComponent {
    pid: String,
}

impl FrozenComponent {
    pub(crate) async fn freeze(name: &str) -> Self {
        let variables = run_dev(&["env"]).await;
        let key = format!("{}_PID=", name.to_uppercase());
        let pid = variables.lines().find_map(|line| line.strip_prefix(&key));
        let pid = pid.unwrap_or_else(|| panic!("{name} does not run"));
        let frozen = Self {
            pid: pid.to_owned(),
        };
        frozen.signal("-STOP");
        frozen
    }

    /// Signals the process and its children: each connection to Postgres has one of its own.
    fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill")
            .args([signal, &self.pid])
            .status();
        assert!(sent.expect("kill runs").success());
        // Fails where there are no children.
        let _ = std::process::Command::new("pkill")
            .args([signal, "-P", &self.pid])
            .status();
    }
}

impl Drop for FrozenComponent {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// A call, and when it began.
struct LiveCall<'a> {
    pair: &'a CallPair,
    call_id: i64,
    started_at: Instant,
}

impl<'a> LiveCall<'a> {
    async fn start(pair: &'a CallPair) -> Self {
        let call_id = pair.start_call().await;
        Self {
            pair,
            call_id,
            started_at: Instant::now(),
        }
    }

    async fn end_at(&self, app: &ApiClient) -> ApiAnswer {
        let body = serde_json::json!({"call_id": self.call_id});
        let request = app.post("/calls/end").as_user(&self.pair.caller);
        request.json(&body).answer().await
    }

    /// Hangs up as an app does, which repeats what was answered 503, until the call has ended.
    async fn end_until_answered(&self, app: &ApiClient) {
        loop {
            let answer = self.end_at(app).await;
            match answer.status {
                200 | 404 => return,
                503 => tokio::time::sleep(POLL).await,
                _ => panic!("{answer:?}"),
            }
        }
    }

    /// Asserts that the caller paid for the minutes that had begun when they hung up, and for no other.
    async fn assert_billed_until(&self, hung_up_at: Instant) {
        let path = format!("/calls/{}", self.call_id);
        let receipt = wait_for("the receipt", || async {
            let request = self.pair.app.get(&path).as_user(&self.pair.caller);
            let receipt = request.answer().await;
            let is_settled = receipt.status == 200 && receipt.body["listener_money_earned"] != 0;
            is_settled.then_some(receipt.body)
        })
        .await;
        let talked = hung_up_at.duration_since(self.started_at).as_secs();
        let talked_max = i64::try_from(talked).expect("short") + MEASUREMENT_SLACK_SECS;
        let minutes_max = talked_max.div_euclid(MINUTE_SECS) + 1;
        let coins_spent = receipt["coins_spent"].as_i64().expect("coins");
        assert!(
            coins_spent <= COINS_PER_MINUTE * minutes_max,
            "hung up after {talked} seconds: {receipt}"
        );
        let coins = self.pair.load_coins().await;
        assert_eq!(coins, COINS_AT_FIRST - coins_spent, "{receipt}");
    }
}

/// Asserts that a request was answered in time, either well or as the contract says.
fn assert_answered(what: &str, asked_at: Instant, answer: &ApiAnswer) {
    assert!(
        asked_at.elapsed() < ANSWERED_WITHIN,
        "{what} took {:?}: {answer:?}",
        asked_at.elapsed()
    );
    if answer.status == 503 {
        let media_type = answer.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{what}");
        assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
    } else {
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
}

async fn works_again<T>(what: &str, work: impl Future<Output = T>) -> T {
    let worked = tokio::time::timeout(WORKS_AGAIN_WITHIN, work).await;
    worked
        .unwrap_or_else(|_| panic!("{what} does not work {WORKS_AGAIN_WITHIN:?} after the silence"))
}

async fn wait_until_nothing_is_stuck(pairs: &[CallPair]) {
    let db = PgPool::connect_lazy(&read_variable("DATABASE_URL")).expect("a valid URL");
    for service in SERVICES {
        let query = format!("SELECT count(*) FROM {service}.outbox WHERE published_at IS NULL");
        wait_for("the outbox to be published", || async {
            let unpublished = sqlx::query_scalar(AssertSqlSafe(query.clone()));
            let unpublished: i64 = unpublished.fetch_one(&db).await.ok()?;
            (unpublished == 0).then_some(())
        })
        .await;
    }
    for pair in pairs {
        wait_for("both to be free", || async {
            pair.are_both_free().await.then_some(())
        })
        .await;
    }
}

async fn sign_up_pairs(count: usize) -> Vec<CallPair> {
    join_all((0..count).map(|_| CallPair::sign_up())).await
}

/// Freezes a component for a while, with calls live before, in and after the silence.
async fn freeze_under_calls(component: &str, silence: Duration) {
    let pairs = sign_up_pairs(4).await;
    let [ending, lasting, starting, waiting] = &pairs[..] else {
        panic!("four pairs were signed up");
    };
    let (ending, lasting) = tokio::join!(LiveCall::start(ending), LiveCall::start(lasting));
    let frozen = FrozenComponent::freeze(component).await;
    let frozen_at = Instant::now();
    let hang_up = async {
        let ended = ending.end_at(&ending.pair.app).await;
        // An end that is answered counts from its answer, and any other from its request.
        let is_answered = ended.status == 200;
        let hung_up_at = if is_answered {
            Instant::now()
        } else {
            frozen_at
        };
        (ended, hung_up_at)
    };
    let ((ended, ended_at), started) = tokio::join!(hang_up, starting.request_call());
    assert_answered(&format!("an end without {component}"), frozen_at, &ended);
    assert_answered(&format!("a start without {component}"), frozen_at, &started);
    // The silence itself is what is tested.
    tokio::time::sleep(silence.saturating_sub(frozen_at.elapsed())).await;
    drop(frozen);

    let hung_up_at = Instant::now();
    works_again(component, async {
        let before = async {
            ending.end_until_answered(&ending.pair.app).await;
            lasting.end_until_answered(&lasting.pair.app).await;
        };
        let after = async {
            let call = LiveCall::start(waiting).await;
            call.end_until_answered(&waiting.app).await;
        };
        tokio::join!(before, after, CallPair::sign_up())
    })
    .await;
    if started.status == 200 {
        let call_id = started.body["call_id"].as_i64().expect("a call id");
        let ended = starting.end_call(&starting.caller, call_id).await;
        assert!([200, 404].contains(&ended.status), "{ended:?}");
    }
    if ["s3", "verification"].contains(&component) {
        let listener = waiting.app.sign_up(UserRole::Listener).await;
        let sent = works_again(component, upload(&waiting.app, &listener)).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
    wait_until_nothing_is_stuck(&pairs).await;
    ending.assert_billed_until(ended_at).await;
    lasting.assert_billed_until(hung_up_at).await;
}

#[tokio::test]
async fn calls_survive_every_component_that_freezes() {
    let _stack = lock_stack().await;
    let silence = Duration::from_secs(read_number("TALKTIME_SILENCE_SECS", SECS_DEFAULT));
    for _ in 0..read_number("TALKTIME_SILENCE_ROUNDS", ROUNDS_DEFAULT) {
        freeze_under_calls("postgres", silence.max(POSTGRES_SILENCE_MIN)).await;
        for component in ["redis", "nats", "s3"].into_iter().chain(SERVICES) {
            freeze_under_calls(component, silence).await;
        }
    }
    assert_books_are_right().await;
}

/// Packets between the database and one replica of calls are dropped; the other replica bills on. Then the
/// database is reached at the same address again, and the connections from before are never answered.
#[tokio::test]
async fn calls_end_as_of_the_hang_up_though_their_database_was_out_of_reach() {
    let _stack = lock_stack().await;
    let url = read_variable("CALLS_APP_DATABASE_URL");
    let (credentials, rest) = url.split_once('@').expect("a user");
    let (address, database) = rest.split_once('/').expect("a database");
    let proxy = SilentProxy::start(address).await;
    let url = format!("{credentials}@{}/{database}", proxy.address());
    let calls = start_calls_replica_with(&[("TALKTIME_CALLS__DATABASE__APP_URL", &url)]).await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__CALLS", &calls.url)]).await;
    let pairs = sign_up_pairs(3).await;
    let calls = join_all(pairs.iter().map(LiveCall::start)).await;

    proxy.silence();
    let hung_up_at = Instant::now();
    let ends = calls.iter().map(|call| call.end_at(&gateway.app));
    for ended in join_all(ends).await {
        assert_eq!(ended.status, 503, "{ended:?}");
        assert_answered("an end", hung_up_at, &ended);
    }
    // Meanwhile a call is billed although its caller has hung up, because the hang-up could not be stored.
    let billed_before = calls[0].pair.load_coins().await;
    wait_for("another minute to be billed", || async {
        (calls[0].pair.load_coins().await < billed_before).then_some(())
    })
    .await;
    proxy.replace();

    let ends = calls
        .iter()
        .map(|call| call.end_until_answered(&gateway.app));
    works_again("an end", join_all(ends)).await;
    wait_until_nothing_is_stuck(&pairs).await;
    for call in &calls {
        call.assert_billed_until(hung_up_at).await;
    }
    assert_books_are_right().await;
}
