//! Bytes that are no requests, by the ten thousand, at the port that the world reaches: the gateway stays
//! up, its memory stays bounded, and who asks honestly is answered.

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

use crate::take_stack;

/// Of nonsense and, for comparison, as many that are well-formed. They take turns, so that whatever
/// else the machine does meanwhile is felt by both.
const TURNS: u64 = 10;
const CONNECTIONS_IN_A_TURN: u64 = 1_000;
/// Between two new connections. The attackers share the processors with those they attack, so a
/// pace at which these are busy would say how fast the machine is, and nothing of the gateway.
const PACE: Duration = Duration::from_millis(2);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
const BYTES_MAX: u64 = 4_096;
const HONEST: usize = 4;
const HONEST_PACE: Duration = Duration::from_millis(40);
/// What so many connections may leave behind for good, in a build without optimizations.
const GROWTH_KB_MAX: u64 = 256 * 1024;
/// How much longer the 99th percentile of honest requests may be beside nonsense.
const RATIO_MAX: u32 = 2;
/// Shorter than that, it is the noise of a shared machine, and no ratio is asked of it.
const P99_NOISE: Duration = Duration::from_millis(50);

/// The generator xorshift64*: the same bytes each time.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn some(&mut self) -> Vec<u8> {
        let length = self.next() % BYTES_MAX;
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// What a connection sends before its random bytes: how far into the gateway they get.
fn beginning(kind: u64, token: &str) -> String {
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

/// Sends and listens for a moment; how it ends does not matter.
async fn attack(address: &str, seed: u64, token: &str) {
    let mut bytes = Bytes(seed | 1);
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(beginning(seed % 7, token).as_bytes())
            .await?;
        stream.write_all(&bytes.some()).await?;
        if bytes.next().is_multiple_of(2) {
            stream.shutdown().await?;
        }
        let mut answer = [0; 1024];
        while stream.read(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, attempt).await;
}

/// A request that is one, and nothing else.
async fn ask_well(address: &str) {
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

/// Opens a turn's connections one after the other; how long honest requests took meanwhile.
async fn turn<F>(number: u64, person: &AppUser, connect: impl Fn(u64) -> F) -> Vec<Duration>
where
    F: Future<Output = ()> + Send + 'static,
{
    let honest = Honest::begin(person);
    let mut pace = at_most_every(PACE);
    let mut under_way = JoinSet::new();
    for index in 0..CONNECTIONS_IN_A_TURN {
        pace.tick().await;
        under_way.spawn(connect(number * CONNECTIONS_IN_A_TURN + index));
    }
    let took = honest.end().await;
    // The next turn begins without what is left of this one.
    while let Some(ended) = under_way.join_next().await {
        ended.expect("a connection's end");
    }
    took
}

/// Without a burst after a delay.
fn at_most_every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// People who read their balance again and again until told to stop.
struct Honest {
    stop: Arc<AtomicBool>,
    people: Vec<JoinHandle<Vec<Duration>>>,
}

impl Honest {
    fn begin(person: &AppUser) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let people = (0..HONEST).map(|_| {
            let (stop, person) = (stop.clone(), person.clone());
            tokio::spawn(async move {
                let app: TestApp = connect_app().await;
                let mut pace = at_most_every(HONEST_PACE);
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let started = Instant::now();
                    let answer = app.get("/wallet/balance").as_user(&person).answer().await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    took.push(started.elapsed());
                }
                took
            })
        });
        Self {
            people: people.collect(),
            stop,
        }
    }

    /// Stops them; answers how long each request took.
    async fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for person in self.people {
            took.extend(person.await.expect("every honest request is answered"));
        }
        took
    }
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

async fn gateway_pid() -> String {
    let variables = run_dev(&["env"]).await;
    let pid = variables
        .lines()
        .find_map(|line| line.strip_prefix("GATEWAY_PID="));
    pid.expect("the gateway runs").to_owned()
}

fn resident_kb(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kb.expect("a size")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_of_nonsense_are_survived() {
    let _stack = take_stack().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let pid = gateway_pid().await;
    let before_kb = resident_kb(&pid);
    let address: Arc<str> = app.gateway_url().trim_start_matches("http://").into();
    let token: Arc<str> = person.access_token.as_str().into();
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    for number in 0..TURNS {
        let well = turn(number, &person, |_| {
            let address = address.clone();
            async move { ask_well(&address).await }
        });
        quiet.extend(well.await);
        let nonsense = turn(number, &person, |seed| {
            let (address, token) = (address.clone(), token.clone());
            async move { attack(&address, seed, &token).await }
        });
        beside.extend(nonsense.await);
    }

    let after_kb = resident_kb(&pid);
    let requests = (quiet.len(), beside.len());
    let (quiet, beside) = (p99(quiet), p99(beside));
    println!(
        "{} connections: honest p99 {quiet:?} quiet, {beside:?} beside them ({requests:?} requests); \
         memory {before_kb} -> {after_kb} kB",
        TURNS * CONNECTIONS_IN_A_TURN
    );
    assert_eq!(gateway_pid().await, pid, "the same process");
    let may_take = (RATIO_MAX * quiet).max(P99_NOISE);
    assert!(
        beside <= may_take,
        "{quiet:?} quiet, {beside:?} beside nonsense"
    );
    let grown_kb = after_kb.saturating_sub(before_kb);
    assert!(grown_kb < GROWTH_KB_MAX, "{before_kb} -> {after_kb} kB");
}
