//! Ten thousand connections that send random bytes to the public port: the gateway stays up, its memory stays
//! bounded, and valid requests are answered.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use talktime_client::{AppUser, UserRole};
use talktime_tests::{ExpectAnswer, TestApp, connect_app, run_dev};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::lock_stack;

/// Rounds of random bytes, and as many rounds of valid requests for comparison. They alternate, so that other load
/// of the machine affects both.
const ROUNDS: u64 = 10;
const CONNECTIONS_PER_ROUND: u64 = 1_000;
/// Time between two new connections. The clients share the processors with the gateway, so a pace that keeps the
/// processors busy would measure the machine and not the gateway.
const PACE: Duration = Duration::from_millis(2);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
const BYTES_MAX: u64 = 4_096;
const HONEST_CLIENTS: usize = 4;
const HONEST_PACE: Duration = Duration::from_millis(40);
/// Permitted growth of memory after all connections, in a build without optimizations.
const GROWTH_KB_MAX: u64 = 256 * 1024;
/// Greatest ratio of the 99th percentiles of valid requests in the median round, beside random bytes and without them.
const RATIO_MAX: u32 = 2;
/// The same of all rounds together, where other work of the machine in a few of the rounds decides.
const OVERALL_RATIO_MAX: u32 = 3;
/// Shorter percentiles are noise of a shared machine and are accepted.
const P99_NOISE: Duration = Duration::from_millis(50);

/// The generator xorshift64*, which returns the same bytes in each run.
struct RandomBytes(u64);

impl RandomBytes {
    fn next_number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn next_bytes(&mut self) -> Vec<u8> {
        let length = self.next_number() % BYTES_MAX;
        (0..length)
            .map(|_| self.next_number().to_le_bytes()[0])
            .collect()
    }
}

/// Returns what a connection sends before its random bytes, which determines how far into the gateway they get.
fn request_prefix(kind: u64, token: &str) -> String {
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    match kind {
        0 => String::new(),
        1 => "GET /users/me HTTP/1.1\r\nhost: x\r\nx-random: ".to_owned(),
        2 => "POST /auth/verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
              content-length: 4096\r\n\r\n{\"phone\": "
            .to_owned(),
        3 => "POST /auth/verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
              transfer-encoding: chunked\r\n\r\n"
            .to_owned(),
        4 => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        5 => format!(
            "GET /ws/presence HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{upgrade}\r\n"
        ),
        _ => {
            let mut head = "GET / HTTP/1.1\r\nhost: x\r\n".to_owned();
            for index in 0..200 {
                let _ = write!(head, "x-{index}: {index}\r\n");
            }
            head
        }
    }
}

/// Sends random bytes and reads the answer, if there is one.
async fn send_random_bytes(address: &str, seed: u64, token: &str) {
    let mut bytes = RandomBytes(seed | 1);
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(request_prefix(seed % 7, token).as_bytes())
            .await?;
        stream.write_all(&bytes.next_bytes()).await?;
        if bytes.next_number().is_multiple_of(2) {
            stream.shutdown().await?;
        }
        let mut answer = [0; 1024];
        while stream.read(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, attempt).await;
}

/// Sends a valid request and reads its answer.
async fn send_valid_request(address: &str) {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = b"GET /users/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    let answered = tokio::time::timeout(CONNECTION_TIMEOUT, attempt).await;
    let length = answered.expect("in time").expect("a whole answer");
    assert!(length > 0, "an answer");
}

/// Opens the connections of a round one after another; returns the durations of valid requests meanwhile.
async fn run_round<F>(number: u64, user: &AppUser, connect: impl Fn(u64) -> F) -> Vec<Duration>
where
    F: Future<Output = ()> + Send + 'static,
{
    let honest = HonestClients::start(user);
    let mut pace = paced_interval(PACE);
    let mut under_way = JoinSet::new();
    for index in 0..CONNECTIONS_PER_ROUND {
        pace.tick().await;
        under_way.spawn(connect(number * CONNECTIONS_PER_ROUND + index));
    }
    let took = honest.stop().await;
    // The next round starts without remaining connections of this one.
    while let Some(ended) = under_way.join_next().await {
        ended.expect("a connection's end");
    }
    took
}

/// Returns an interval without bursts after delays.
fn paced_interval(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Clients that read a balance repeatedly until they are stopped.
struct HonestClients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Duration>>>,
}

impl HonestClients {
    fn start(user: &AppUser) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..HONEST_CLIENTS).map(|_| {
            let (stop, user) = (stop.clone(), user.clone());
            tokio::spawn(async move {
                let app: TestApp = connect_app().await;
                let mut pace = paced_interval(HONEST_PACE);
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let started = Instant::now();
                    let answer = app.get("/wallet/balance").as_user(&user).answer().await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    took.push(started.elapsed());
                }
                took
            })
        });
        Self {
            clients: clients.collect(),
            stop,
        }
    }

    /// Stops the clients; returns the duration of each request.
    async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for client in self.clients {
            took.extend(client.await.expect("every honest request is answered"));
        }
        took
    }
}

fn find_percentile(mut took: Vec<Duration>, percent: usize) -> Duration {
    took.sort_unstable();
    took[took.len() * percent / 100]
}

/// Durations of valid requests, round by round.
#[derive(Default)]
struct RequestDurations(Vec<Vec<Duration>>);

impl RequestDurations {
    /// Returns the 99th percentile of the median round. Random bytes are alike in all rounds, while other work of the
    /// machine falls into some of them.
    fn find_median_p99(&self) -> Duration {
        let rounds = self.0.iter().cloned();
        let p99s = rounds.map(|took| find_percentile(took, 99)).collect();
        find_percentile(p99s, 50)
    }

    fn find_overall_p99(&self) -> Duration {
        find_percentile(self.0.concat(), 99)
    }

    fn count(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

/// Asserts that valid requests take at most `ratio_max` times as long beside random bytes.
fn assert_not_slowed(quiet: Duration, beside: Duration, ratio_max: u32) {
    let p99_max = (ratio_max * quiet).max(P99_NOISE);
    assert!(
        beside <= p99_max,
        "{quiet:?} without, {beside:?} beside random bytes, at most {ratio_max} times as long"
    );
}

async fn read_gateway_pid() -> String {
    let variables = run_dev(&["env"]).await;
    let pid = variables
        .lines()
        .find_map(|line| line.strip_prefix("GATEWAY_PID="));
    pid.expect("the gateway runs").to_owned()
}

fn read_resident_kb(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kb.expect("a size")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_survives_ten_thousand_connections_of_random_bytes() {
    let _stack = lock_stack().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let pid = read_gateway_pid().await;
    let before_kb = read_resident_kb(&pid);
    let address: Arc<str> = app.gateway_url().trim_start_matches("http://").into();
    let token: Arc<str> = person.access_token.as_str().into();
    let (mut quiet, mut beside) = (RequestDurations::default(), RequestDurations::default());
    for number in 0..ROUNDS {
        let valid = run_round(number, &person, |_| {
            let address = address.clone();
            async move { send_valid_request(&address).await }
        });
        quiet.0.push(valid.await);
        let random = run_round(number, &person, |seed| {
            let (address, token) = (address.clone(), token.clone());
            async move { send_random_bytes(&address, seed, &token).await }
        });
        beside.0.push(random.await);
    }

    let after_kb = read_resident_kb(&pid);
    let requests = (quiet.count(), beside.count());
    let median = (quiet.find_median_p99(), beside.find_median_p99());
    let overall = (quiet.find_overall_p99(), beside.find_overall_p99());
    println!(
        "{} connections: p99 of valid requests without and beside them {median:?} in the median round, {overall:?} in \
         all ({requests:?} requests); memory {before_kb} -> {after_kb} kB",
        ROUNDS * CONNECTIONS_PER_ROUND
    );
    assert_eq!(read_gateway_pid().await, pid, "the same process");
    assert_not_slowed(median.0, median.1, RATIO_MAX);
    assert_not_slowed(overall.0, overall.1, OVERALL_RATIO_MAX);
    let grown_kb = after_kb.saturating_sub(before_kb);
    assert!(grown_kb < GROWTH_KB_MAX, "{before_kb} -> {after_kb} kB");
}
