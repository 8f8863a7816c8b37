//! Delivery of status changes from the commit in presence to thousands of sockets of one gateway, and the memory of
//! an idle socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use talktime_client::{AppUser, UserRole};
use talktime_proto::access::v1::Workload;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::figures::{self, BenchFigure};
use crate::report::quantile;
use crate::socket::LoadSocket;
use crate::stack::{self, BenchStack};
use crate::statuses::{self, FIRST, WAITS};
use crate::{people, process_usage};

/// Channel with one message for each change, because the ledger counts changes.
const PRESENCE: &str = "/ws/presence?changes=status_change";
/// Limit of the contract.
const SOCKETS_A_PERSON: usize = 5;
const OPENED_AT_A_TIME: usize = 64;
/// Users whose statuses change: more than change within the permitted lag of a socket, because replaced changes are
/// not sent.
const CHANGING: i64 = 2_000;
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

#[derive(Args)]
pub(crate) struct FanoutOptions {
    /// Sockets that are open without changes, and during bursts
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Sockets that receive a steady stream
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Changes a second of the steady stream
    #[arg(long, default_value_t = 100)]
    changes: u32,
    /// Changes in a burst, one a second
    #[arg(long, default_value_t = 20)]
    burst: u32,
}

pub(crate) async fn run_bench(
    stack: &BenchStack,
    pace: LoadSettings,
    options: &FanoutOptions,
) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    statuses::seed_listeners(&database, CHANGING).await?;
    let presence = stack
        .connect_grpc(Workload::Gateway, Workload::Presence)
        .await?;
    let presence = PresenceServiceClient::new(presence);
    // The second half uses other users, because sockets of the first ones may still occupy their places.
    let in_first_half = options.idle.div_ceil(SOCKETS_A_PERSON);
    let in_second_half = options.sockets.div_ceil(SOCKETS_A_PERSON);
    let people = people::sign_up(stack, UserRole::User, in_first_half + in_second_half).await?;
    let (people, others) = people.split_at(in_first_half);
    let duration = pace.total_duration()?;

    let before = read_memory_kib()?;
    let sockets = open_sockets(stack, people, options.idle).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = read_memory_kib()?.saturating_sub(before);
    println!("\n{} sockets without messages", options.idle);
    println!(
        "  memory of the gateway          {:>8.1} KiB a socket",
        grown as f64 / options.idle as f64
    );
    let size = grown as f64 / options.idle as f64;
    figures::append(&[BenchFigure::new(
        "Sockets",
        "memory of a socket",
        size,
        "KiB",
    )])?;

    let audience = SocketAudience::start(0, sockets);
    let burst_of = |number: u64| number / u64::from(options.burst.max(1));
    let figures = audience
        .measure(&presence, options.burst, duration, move |number| {
            // All changes of a burst are due at the beginning of their second.
            Duration::from_secs(burst_of(number))
        })
        .await?;
    let title = format!(
        "{} sockets, {} changes at once each second",
        options.idle, options.burst
    );
    figures.publish(&title)?;
    audience.close();
    tokio::time::sleep(Duration::from_secs(2)).await;

    let audience = SocketAudience::start(1, open_sockets(stack, others, options.sockets).await?);
    let rate = f64::from(options.changes);
    let figures = audience
        .measure(&presence, options.changes, duration, move |number| {
            Duration::from_secs_f64(number as f64 / rate)
        })
        .await?;
    let title = format!(
        "{} sockets, {} changes a second",
        options.sockets, options.changes
    );
    figures.publish(&title)?;
    audience.close();
    Ok(())
}

async fn open_sockets(
    stack: &BenchStack,
    people: &[AppUser],
    count: usize,
) -> anyhow::Result<Vec<LoadSocket>> {
    stream::iter(0..count)
        .map(|index| {
            let person = &people[index / SOCKETS_A_PERSON];
            LoadSocket::open(&stack.gateway_url, PRESENCE, &person.access_token)
        })
        .buffer_unordered(OPENED_AT_A_TIME)
        .try_collect()
        .await
        .context("opening sockets")
}

/// Reads the resident memory of the gateway.
fn read_memory_kib() -> anyhow::Result<u64> {
    let pid = stack::read_variable("GATEWAY_PID")?.parse()?;
    Ok(process_usage::read_memory(pid)?.resident)
}

/// Sockets that are read, with the time at which each change arrived.
struct SocketAudience {
    /// Number of the half, 0 or 1.
    round: i64,
    size: u64,
    ledger: Arc<ChangeLedger>,
    readers: JoinSet<()>,
}

/// One entry for each change, found by user and wait.
struct ChangeLedger {
    started_at: Instant,
    entries: Vec<ChangeEntry>,
}

#[derive(Default)]
struct ChangeEntry {
    /// Time of the commit in microseconds since the beginning.
    committed_at: AtomicU64,
    last_received_at: AtomicU64,
    received: AtomicU64,
}

impl ChangeLedger {
    fn new() -> Self {
        let entries = CHANGING * WAITS;
        Self {
            started_at: Instant::now(),
            entries: (0..entries).map(|_| ChangeEntry::default()).collect(),
        }
    }

    fn entry(&self, user_id: i64, wait_time: i64) -> Option<&ChangeEntry> {
        let index = (user_id - FIRST) * WAITS + wait_time;
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn micros_since_start(&self, at: Instant) -> u64 {
        u64::try_from((at - self.started_at).as_micros()).unwrap_or(u64::MAX)
    }

    /// Records the arrival of a change. It looks for two fields in their order instead of parsing the text, to leave the
    /// processors to the gateway.
    fn record_message(&self, message: &str) {
        let mut fields = message.split(',');
        let mut find_number = |name: &str| {
            let number = fields.find_map(|field| field.strip_prefix(name))?;
            number.parse().ok()
        };
        let (Some(user_id), Some(wait_time)) = (
            find_number("\"data\":{\"user_id\":"),
            find_number("\"wait_time\":"),
        ) else {
            return;
        };
        if let Some(entry) = self.entry(user_id, wait_time) {
            let now = self.micros_since_start(Instant::now());
            entry.last_received_at.fetch_max(now, Ordering::Relaxed);
            entry.received.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl SocketAudience {
    fn start(round: i64, sockets: Vec<LoadSocket>) -> Self {
        let ledger = Arc::new(ChangeLedger::new());
        let size = sockets.len() as u64;
        let mut readers = JoinSet::new();
        for mut socket in sockets {
            let ledger = ledger.clone();
            readers.spawn(async move {
                while let Ok(message) = socket.receive().await {
                    ledger.record_message(&message);
                }
            });
        }
        Self {
            round,
            size,
            ledger,
            readers,
        }
    }

    fn close(mut self) {
        self.readers.abort_all();
    }

    /// Makes changes at the times that `due` returns, and waits until all sockets have received all of them.
    async fn measure(
        &self,
        presence: &PresenceServiceClient<Channel>,
        per_second: u32,
        duration: Duration,
        due: impl Fn(u64) -> Duration,
    ) -> anyhow::Result<DeliveryFigures> {
        let started_at = Instant::now();
        let total = u64::from(per_second) * duration.as_secs();
        let round = self.round;
        let mut changes = JoinSet::new();
        for number in 0..total {
            tokio::time::sleep_until((started_at + due(number)).into()).await;
            let (ledger, mut presence) = (self.ledger.clone(), presence.clone());
            changes.spawn(async move {
                let (user_id, wait_time) = choose_change(round, number);
                let committed = statuses::change_status(&mut presence, user_id, wait_time).await?;
                let entry = ledger
                    .entry(user_id, wait_time)
                    .context("a change of this half")?;
                let committed_at = ledger.micros_since_start(committed);
                entry.committed_at.store(committed_at, Ordering::Relaxed);
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(change) = changes.join_next().await {
            change??;
        }
        self.wait_until_received(total).await?;
        self.compute_figures(total, started_at)
    }

    fn entries(&self, total: u64) -> impl Iterator<Item = &ChangeEntry> {
        (0..total).filter_map(move |number| {
            let (user_id, wait_time) = choose_change(self.round, number);
            self.ledger.entry(user_id, wait_time)
        })
    }

    async fn wait_until_received(&self, total: u64) -> anyhow::Result<()> {
        let requested_at = Instant::now();
        loop {
            let missing = self
                .entries(total)
                .filter(|entry| entry.received.load(Ordering::Relaxed) < self.size)
                .count();
            if missing == 0 {
                return Ok(());
            }
            ensure!(
                requested_at.elapsed() < SETTLE_WITHIN,
                "{missing} of {total} changes were not received by all of {} sockets",
                self.size
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn compute_figures(&self, total: u64, started_at: Instant) -> anyhow::Result<DeliveryFigures> {
        let mut latency = Histogram::new(3)?;
        let mut last = 0;
        for entry in self.entries(total) {
            let received_at = entry.last_received_at.load(Ordering::Relaxed);
            let committed_at = entry.committed_at.load(Ordering::Relaxed);
            // A socket may receive a change before its request is answered.
            latency.record(received_at.saturating_sub(committed_at))?;
            last = last.max(received_at);
        }
        let took =
            last.saturating_sub(self.ledger.micros_since_start(started_at)) as f64 / 1_000_000.0;
        Ok(DeliveryFigures {
            delivered_a_second: (total * self.size) as f64 / took,
            latency,
        })
    }
}

/// Returns the user of a change, and the wait that distinguishes it from others.
fn choose_change(round: i64, number: u64) -> (i64, i64) {
    let number = i64::try_from(number).expect("a small number");
    let wait = round * WAITS / 2 + number / CHANGING % (WAITS / 2);
    (FIRST + number % CHANGING, wait)
}

struct DeliveryFigures {
    delivered_a_second: f64,
    latency: Histogram<u64>,
}

impl DeliveryFigures {
    fn publish(&self, title: &str) -> anyhow::Result<()> {
        let (p50, p99) = (quantile(&self.latency, 0.5), quantile(&self.latency, 0.99));
        println!("\n{title}");
        println!(
            "  messages delivered             {:>8.0} /s",
            self.delivered_a_second
        );
        println!("  from the commit to the last    p50 {p50:.1} ms  p99 {p99:.1} ms");
        let rate = self.delivered_a_second;
        let figure = BenchFigure::new(title, "messages delivered", rate, "/s");
        figures::append(&[figure.with_latency(p50, p99)])
    }
}
