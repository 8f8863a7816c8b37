//! Pages of a long feed during changes of statuses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use talktime_proto::access::v1::Workload;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{ListListenersRequest, ListenerSort};
use tonic::transport::Channel;

use crate::LoadSettings;
use crate::driver::{self, LoadWorker};
use crate::figures::{self, BenchFigure};
use crate::ops_metrics::ProcessMetrics;
use crate::pgbench::PgbenchScript;
use crate::report::{RateReport, ReportLine};
use crate::stack::{self, BenchStack, request_of};
use crate::statuses::{self, FIRST, WAITS};

/// Share of the top rate at which typical latencies are measured.
const EASY_SHARE: f64 = 0.5;
/// Time that profile has for building its index.
const BUILD_WITHIN: Duration = Duration::from_mins(2);
const TITLE: &str = "Listeners in the index of the feed";
const BUILD_POLL: Duration = Duration::from_millis(50);

#[derive(Args)]
pub(crate) struct FeedOptions {
    /// Listeners in the feed
    #[arg(long, default_value_t = 100_000)]
    listeners: i64,
    /// Status changes a second meanwhile
    #[arg(long, default_value_t = 100)]
    changes: u32,
}

pub(crate) async fn run_bench(
    stack: &BenchStack,
    pace: LoadSettings,
    options: &FeedOptions,
) -> anyhow::Result<()> {
    let database = stack.connect_database().await?;
    let empty = read_memory().await?;
    statuses::seed_listeners(&database, options.listeners).await?;
    measure_build(options.listeners, empty).await?;
    let presence = stack
        .connect_grpc(Workload::Gateway, Workload::Presence)
        .await?;
    let presence = PresenceServiceClient::new(presence);
    let profile = stack
        .connect_grpc(Workload::Gateway, Workload::Profile)
        .await?;
    let profile = ProfileServiceClient::new(profile);
    let mut viewers: Vec<FeedViewer> = (0..pace.clients)
        .map(|index| FeedViewer {
            profile: profile.clone(),
            asked: index,
        })
        .collect();
    let changes = tokio::spawn(change_statuses(
        presence,
        options.listeners,
        options.changes,
    ));
    let mut top = ReportLine::new(&format!("pages, {} viewers at a time", pace.clients));
    let pgbench = PgbenchScript::new(stack, include_str!("../pgbench/feed_page.sql"))?;
    let mut reference = ReportLine::new("pgbench, the statements of a page alone");
    for _ in 0..pace.rounds {
        reference.add_rate(pgbench.run(pace.clients, pace.duration()).await?);
        top.add_round(&driver::run_flat_out(&mut viewers, pace.duration()).await?);
    }
    let mut easy = ReportLine::new("pages, at half the top rate");
    let rate = top.median() * EASY_SHARE;
    for _ in 0..pace.rounds {
        easy.add_round(&driver::run_at_rate(&mut viewers, pace.duration(), rate).await?);
    }
    changes.abort();
    let title = format!(
        "The feed of {} listeners, {} status changes a second",
        options.listeners, options.changes
    );
    RateReport::new(&title, vec![reference, top, easy]).publish()?;
    let metrics = ProcessMetrics::read("profile").await?;
    println!(
        "  {} pages from the index, {} from the database",
        metrics.sum("feed_pages_total", "source=\"index\"")?,
        metrics.sum("feed_pages_total", "source=\"database\"")?
    );
    Ok(())
}

/// Reads the resident memory of profile in bytes.
async fn read_memory() -> anyhow::Result<f64> {
    let metrics = ProcessMetrics::read("profile").await?;
    metrics.get("process_resident_memory_bytes")
}

/// Starts profile anew, waits for its index, and prints how long it took since the start and what it takes.
async fn measure_build(listeners: i64, empty: f64) -> anyhow::Result<()> {
    stack::restart("profile").await?;
    let wait = async {
        loop {
            let metrics = ProcessMetrics::read("profile").await?;
            if metrics.get("feed_index_refreshed_seconds")? > 0.0 {
                return anyhow::Ok(metrics);
            }
            tokio::time::sleep(BUILD_POLL).await;
        }
    };
    let metrics = tokio::time::timeout(BUILD_WITHIN, wait).await??;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let ready = now - metrics.get("process_start_time_seconds")?;
    println!("\n{TITLE}: {}", metrics.get("feed_index_listeners")?);
    println!(
        "  ready after the start          {:>8.1} s, of which the build takes {:.1} s",
        ready,
        metrics.get("feed_index_build_seconds")?
    );
    let grown = metrics.get("process_resident_memory_bytes")? - empty;
    println!(
        "  memory                         {:>8.0} bytes a listener",
        grown / listeners as f64
    );
    figures::append(&[
        BenchFigure::new(TITLE, "ready after the start", ready, "s"),
        BenchFigure::new(
            TITLE,
            "memory of a listener",
            grown / listeners as f64,
            "bytes",
        ),
    ])
}

async fn change_statuses(
    presence: PresenceServiceClient<Channel>,
    listeners: i64,
    per_second: u32,
) {
    let longer_than_the_measurement = Duration::from_hours(1);
    statuses::call_at_rate(per_second.into(), longer_than_the_measurement, |number| {
        let mut presence = presence.clone();
        async move {
            let number = i64::try_from(number).unwrap_or_default();
            // Steps of a prime number reach every listener, and neighbours in the feed at different times.
            let user_id = FIRST + number * 7_919 % listeners;
            // A lost change does not affect the measurement.
            let _ = statuses::change_status(&mut presence, user_id, number % WAITS).await;
        }
    })
    .await;
}

/// Requests different kinds of pages in turn.
struct FeedViewer {
    profile: ProfileServiceClient<Channel>,
    asked: usize,
}

impl LoadWorker for FeedViewer {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        self.asked += 1;
        let request = choose_request(self.asked);
        self.profile
            .list_listeners(request_of(request.viewer_id, request))
            .await?;
        Ok(1)
    }
}

/// Returns a typical request: mostly for listeners who can be called now, sometimes with filters.
fn choose_request(number: usize) -> ListListenersRequest {
    let page = ListListenersRequest {
        viewer_id: 1,
        page: i32::try_from(number % 5).unwrap_or_default() + 1,
        per_page: 20,
        sort_by: ListenerSort::Online.into(),
        ..ListListenersRequest::default()
    };
    match number % 10 {
        0 | 1 => page,
        2 => ListListenersRequest {
            sort_by: ListenerSort::Rating.into(),
            ..page
        },
        3 => ListListenersRequest {
            available_only: true,
            sort_by: ListenerSort::Rating.into(),
            ..page
        },
        4 => ListListenersRequest {
            online_only: true,
            sort_by: ListenerSort::Recent.into(),
            ..page
        },
        5 => ListListenersRequest {
            language: Some("ta".to_owned()),
            ..page
        },
        6 => ListListenersRequest {
            interests: vec!["topic 31".to_owned(), "topic 62".to_owned()],
            ..page
        },
        7 => ListListenersRequest {
            sex: Some("female".to_owned()),
            available_only: true,
            ..page
        },
        8 => ListListenersRequest {
            min_rating_hundredths: Some(450),
            ..page
        },
        _ => ListListenersRequest {
            page: 500,
            sort_by: ListenerSort::Rating.into(),
            ..page
        },
    }
}
