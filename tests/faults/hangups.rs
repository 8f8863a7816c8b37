//! Clients that hang up in the middle of their requests, hundreds of them and on every endpoint, beside
//! people who wait for their answers: nothing that was acknowledged is missing, nothing is charged for
//! a call that does not exist, and nobody is refused because of somebody else's hang-up.
//!
//! `TALKTIME_HANGUP_SECS` says how long this goes on. With `TALKTIME_HANGUP_KILLS` set, services are killed
//! meanwhile, and people repeat what was refused for that.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use talktime_client::{ApiRequest, AppUser};
use talktime_tests::document::{ApiDocument, ApiOperation};
use talktime_tests::{
    CallPair, ExpectAnswer, assert_books_are_right, read_variable, run_dev, wait_for,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::take_stack;

const SECS_DEFAULT: u64 = 12;
const HONEST_PAIRS: usize = 6;
const RUDE_PAIRS: usize = 8;
/// Clients that hang up at once, as these people.
const HANGING_UP: usize = 200;
/// Between two requests of one client that hangs up.
const PACE: Duration = Duration::from_secs(1);
/// The longest that such a client waits before it resets its connection.
const PATIENCE_MAX_MS: u64 = 12;
/// Between a service that runs again and the next kill.
const KILL_PAUSE: Duration = Duration::from_secs(5);
const VICTIMS: [&str; 5] = ["wallet", "calls", "presence", "profile", "auth"];
const COINS_PER_RECHARGE: i64 = 300;
const COINS_PER_MINUTE: i64 = 10;
/// These would end the sessions that the other requests are made with.
const ENDS_SESSIONS: [&str; 5] = [
    "/auth/logout",
    "/auth/logout_all",
    "/auth/refresh",
    "/auth/sessions/{session_id}",
    "DELETE /users/me",
];

fn duration() -> Duration {
    let secs = std::env::var("TALKTIME_HANGUP_SECS").ok();
    Duration::from_secs(secs.map_or(SECS_DEFAULT, |secs| secs.parse().expect("seconds")))
}

/// The generator splitmix64: moments and endpoints that look random.
#[derive(Default)]
struct Random(AtomicU64);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let mut value = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) % bound
    }
}

/// A request in bytes, for everybody who has a token.
struct RawRequest {
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
        // Every id is a small number or is refused as none: both are requests.
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

    fn bytes(&self, token: &str) -> Vec<u8> {
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
async fn hang_up(address: &str, request: &[u8], patience: Duration) {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_zero_linger()?;
        stream.write_all(request).await?;
        tokio::time::sleep(patience).await;
        std::io::Result::Ok(())
    };
    // A gateway that has no room for the connection has not been hurt by it either.
    let _ = attempt.await;
}

/// What the clients of a pair that hangs up ask for.
async fn requests(pair: &CallPair) -> Vec<RawRequest> {
    let document = ApiDocument::read(&pair.app).await;
    let operations = document.list_operations().into_iter().filter(|operation| {
        let name = format!("{} {}", operation.method, operation.path);
        !ENDS_SESSIONS.contains(&operation.path.as_str()) && !ENDS_SESSIONS.contains(&name.as_str())
    });
    let mut requests: Vec<RawRequest> = operations
        .map(|operation| RawRequest::sample(&document, &operation, &pair.listener))
        .collect();
    // Starts and ends touch the most parts: they come as often as all the others together.
    let of_calls = ["/calls/start", "/calls/recharge", "/payments/orders"];
    for path in of_calls {
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

/// Hangs up again and again, as caller and as listener; answers how often.
async fn keep_hanging_up(
    pair: Arc<CallPair>,
    requests: Arc<Vec<RawRequest>>,
    random: Arc<Random>,
    until: Instant,
) -> u64 {
    let address = pair
        .app
        .gateway_url()
        .trim_start_matches("http://")
        .to_owned();
    let mut count = 0;
    while Instant::now() < until {
        let person = if random.below(4) == 0 {
            &pair.listener
        } else {
            &pair.caller
        };
        let index = usize::try_from(random.below(requests.len() as u64)).expect("an index");
        let patience = Duration::from_millis(random.below(PATIENCE_MAX_MS + 1));
        hang_up(
            &address,
            &requests[index].bytes(&person.access_token),
            patience,
        )
        .await;
        count += 1;
        tokio::time::sleep(PACE).await;
    }
    count
}

/// What an honest pair was told.
#[derive(Default)]
struct Acknowledged {
    recharges: i64,
    minutes: i64,
    order_ids: Vec<String>,
    rated_call_ids: Vec<i64>,
    withdrawal_ids: Vec<i64>,
    /// Answers that asked for another try.
    refusals: usize,
}

/// A pair that waits for every answer, and asks again with the same key where it is told to.
struct HonestPair<'a> {
    pair: &'a CallPair,
    acknowledged: Acknowledged,
    requests: usize,
}

impl HonestPair<'_> {
    /// Orders, recharges, calls, rates and withdraws, round after round.
    async fn live(mut self, until: Instant) -> Acknowledged {
        self.add_bank_details().await;
        while Instant::now() < until {
            self.order_and_recharge().await;
            let call_id = self.talk().await;
            self.rate(call_id).await;
            self.withdraw().await;
        }
        self.acknowledged
    }

    async fn add_bank_details(&mut self) {
        let account = json!({
            "account_holder_name": "Devi Rao", "account_number": "123456789012",
            "ifsc_code": "HDFC0ABC123"
        });
        let pair = self.pair;
        let ask = || {
            pair.app
                .put("/wallet/bank-details")
                .as_user(&pair.listener)
                .json(&account)
        };
        self.insist("bank details", ask).await;
    }

    async fn order_and_recharge(&mut self) {
        let order = json!({"amount_rupees": 150});
        let order = self
            .post(&self.pair.caller, "/payments/orders", &order)
            .await;
        let order_id = order["order_id"].as_str().expect("an order id");
        self.acknowledged.order_ids.push(order_id.to_owned());
        let recharge = json!({"amount_rupees": 150, "payment_method": "upi"});
        self.post(&self.pair.caller, "/calls/recharge", &recharge)
            .await;
        self.acknowledged.recharges += 1;
    }

    async fn talk(&mut self) -> i64 {
        let start = json!({"listener_id": self.pair.listener.user_id, "call_type": "audio"});
        let started = self.post(&self.pair.caller, "/calls/start", &start).await;
        let call_id = started["call_id"].as_i64().expect("a call id");
        let end = json!({"call_id": call_id});
        self.post(&self.pair.caller, "/calls/end", &end).await;
        let receipt = wait_for("the receipt", || async {
            let ask = self.pair.app.get(&format!("/calls/{call_id}"));
            let receipt = ask.as_user(&self.pair.caller).answer().await;
            (receipt.status == 200 && receipt.body["status"] != "ongoing").then_some(receipt.body)
        })
        .await;
        self.acknowledged.minutes += receipt["duration_minutes"].as_i64().expect("minutes");
        call_id
    }

    async fn rate(&mut self, call_id: i64) {
        let path = format!("/calls/{call_id}/rating");
        self.post(&self.pair.caller, &path, &json!({"stars": 5}))
            .await;
        self.acknowledged.rated_call_ids.push(call_id);
    }

    async fn withdraw(&mut self) {
        let amount = json!({"amount": 1});
        let withdrawn = self
            .post(&self.pair.listener, "/wallet/withdraw", &amount)
            .await;
        let withdrawal_id = withdrawn["withdrawal_id"]
            .as_i64()
            .expect("a withdrawal id");
        self.acknowledged.withdrawal_ids.push(withdrawal_id);
    }

    async fn post(&mut self, person: &AppUser, path: &str, body: &Value) -> Value {
        self.requests += 1;
        let (app, key) = (&self.pair.app, self.requests.to_string());
        let ask = || {
            app.post(path)
                .as_user(person)
                .header("idempotency-key", &key)
                .json(body)
        };
        self.insist(path, ask).await
    }

    /// Asks until there is a good answer; anything but a refusal for the moment fails the test.
    async fn insist(&mut self, what: &str, ask: impl Fn() -> ApiRequest) -> Value {
        let refusals = AtomicUsize::new(0);
        let answer = wait_for(what, || async {
            let answer = ask().send().await.ok();
            let is_repeated = refusals.load(Ordering::Relaxed) > 0;
            let answer = answer.filter(|answer| match answer.status {
                503 | 504 => false,
                // A start that came to nothing holds both people until it is undone; a rating that was
                // answered too late is there.
                409 => !is_repeated || answer.code() == "already_rated",
                _ => true,
            });
            if answer.is_none() {
                refusals.fetch_add(1, Ordering::Relaxed);
            }
            answer
        })
        .await;
        let refusals = refusals.into_inner();
        self.acknowledged.refusals += refusals;
        let is_there = refusals > 0 && answer.status == 409;
        assert!(answer.status < 300 || is_there, "{what}: {answer:?}");
        answer.body
    }
}

async fn assert_nothing_is_missing(
    database: &PgPool,
    pair: &CallPair,
    acknowledged: &Acknowledged,
) {
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM wallet.payment_orders WHERE order_id = ANY($1)")
            .bind(&acknowledged.order_ids)
            .fetch_one(database)
            .await
            .expect("counted");
    assert_eq!(
        usize::try_from(orders),
        Ok(acknowledged.order_ids.len()),
        "orders"
    );
    let ratings: i64 =
        sqlx::query_scalar("SELECT count(*) FROM calls.call_ratings WHERE call_id = ANY($1)")
            .bind(&acknowledged.rated_call_ids)
            .fetch_one(database)
            .await
            .expect("counted");
    assert_eq!(
        usize::try_from(ratings),
        Ok(acknowledged.rated_call_ids.len()),
        "ratings"
    );
    let withdrawals: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM wallet.user_withdrawals WHERE withdrawal_id = ANY($1)",
    )
    .bind(&acknowledged.withdrawal_ids)
    .fetch_one(database)
    .await
    .expect("counted");
    assert_eq!(
        usize::try_from(withdrawals),
        Ok(acknowledged.withdrawal_ids.len()),
        "withdrawals"
    );
    let coins = COINS_PER_RECHARGE * (1 + acknowledged.recharges);
    assert_eq!(
        pair.load_coins().await,
        coins - COINS_PER_MINUTE * acknowledged.minutes,
        "coins"
    );
}

/// Charges that were not given back although their call does not exist.
async fn charges_without_a_call(database: &PgPool) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT DISTINCT t.call_id FROM wallet.transfers AS t
         WHERE t.kind = 'charge'
           AND NOT EXISTS (SELECT FROM calls.user_calls AS c WHERE c.call_id = t.call_id)
           AND NOT EXISTS (SELECT FROM wallet.transfers AS v
                           WHERE v.call_id = t.call_id AND v.kind <> 'charge')
           AND t.call_id < 3000000000",
    )
    .fetch_all(database)
    .await
    .expect("readable")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hang_ups_take_nothing_from_anybody_else() {
    let _stack = take_stack().await;
    let database = PgPool::connect_lazy(&read_variable("DATABASE_URL")).expect("a valid url");
    let honest = join_all((0..HONEST_PAIRS).map(|_| CallPair::sign_up())).await;
    let rude =
        join_all((0..RUDE_PAIRS).map(|_| async { Arc::new(CallPair::sign_up().await) })).await;
    let random = Arc::new(Random::default());

    let until = Instant::now() + duration();
    let mut hanging_up = Vec::with_capacity(HANGING_UP);
    for pair in &rude {
        let requests = Arc::new(requests(pair).await);
        for _ in 0..HANGING_UP / RUDE_PAIRS {
            let client = keep_hanging_up(pair.clone(), requests.clone(), random.clone(), until);
            hanging_up.push(tokio::spawn(client));
        }
        tokio::spawn(keep_ending_calls(pair.clone(), until));
    }
    let living = honest.iter().map(|pair| {
        let (acknowledged, requests) = (Acknowledged::default(), 0);
        let honest = HonestPair {
            pair,
            acknowledged,
            requests,
        };
        honest.live(until)
    });
    let (acknowledged, kills) = tokio::join!(join_all(living), kill_one_after_the_other(until));
    let mut hang_ups = 0;
    for client in hanging_up {
        hang_ups += client.await.expect("no panic");
    }

    let rounds: i64 = acknowledged.iter().map(|told| told.recharges).sum();
    let refusals: usize = acknowledged.iter().map(|told| told.refusals).sum();
    println!(
        "{hang_ups} hang-ups and {kills} kills beside {rounds} honest rounds of six requests, \
         {refusals} of which had to be repeated"
    );
    assert!(
        kills > 0 || refusals == 0,
        "{refusals} were refused because of others"
    );
    assert!(
        rounds >= i64::try_from(HONEST_PAIRS).expect("few"),
        "{rounds} rounds"
    );
    for (pair, acknowledged) in honest.iter().zip(&acknowledged) {
        assert_nothing_is_missing(&database, pair, acknowledged).await;
    }
    for pair in &rude {
        end_whatever_goes_on(pair).await;
    }
    wait_for(
        "every charge to have a call or to be given back",
        || async {
            charges_without_a_call(&database)
                .await
                .is_empty()
                .then_some(())
        },
    )
    .await;
    assert_books_are_right().await;
}

/// Kills a service at a time and starts it again, where that is asked for; answers how many.
async fn kill_one_after_the_other(until: Instant) -> usize {
    if std::env::var_os("TALKTIME_HANGUP_KILLS").is_none() {
        return 0;
    }
    let mut kills = 0;
    while Instant::now() + KILL_PAUSE < until {
        tokio::time::sleep(KILL_PAUSE).await;
        let victim = VICTIMS[kills % VICTIMS.len()];
        run_dev(&["kill", victim]).await;
        run_dev(&["start", victim]).await;
        kills += 1;
    }
    kills
}

/// Ends the calls of a pair that hangs up, so that its next start is one.
async fn keep_ending_calls(pair: Arc<CallPair>, until: Instant) {
    while Instant::now() < until {
        end_ongoing_call(&pair).await;
        tokio::time::sleep(PACE / 4).await;
    }
}

async fn end_ongoing_call(pair: &CallPair) {
    if let Some(call_id) = pair.load_ongoing_call(&pair.caller).await["call_id"].as_i64() {
        pair.end_call(&pair.caller, call_id).await;
    }
}

/// A start whose client hung up went on without it: its call is live, can be ended, and leaves both free.
async fn end_whatever_goes_on(pair: &CallPair) {
    wait_for("both to be free", || async {
        end_ongoing_call(pair).await;
        pair.are_both_free().await.then_some(())
    })
    .await;
}
