//! Pages of a long feed, while the statuses of those who are on them change.

use clap::Args;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{ListListenersRequest, ListenerSort};
use tonic::transport::Channel;

use crate::Pace;
use crate::driver::{self, Worker};
use crate::report::{Line, Report};
use crate::stack::Stack;
use crate::statuses::{self, FIRST, WAITS};

/// Of the top rate, for latencies as people meet them.
const EASY_SHARE: f64 = 0.5;

#[derive(Args)]
pub(crate) struct FeedOptions {
    /// Listeners in the feed
    #[arg(long, default_value_t = 100_000)]
    listeners: i64,
    /// Status changes a second meanwhile
    #[arg(long, default_value_t = 100)]
    changes: u32,
}

pub(crate) async fn bench(stack: &Stack, pace: Pace, options: &FeedOptions) -> anyhow::Result<()> {
    let database = stack.database().await?;
    statuses::seed_listeners(&database, options.listeners).await?;
    let presence = PresenceServiceClient::new(stack.grpc("presence").await?);
    let profile = ProfileServiceClient::new(stack.grpc("profile").await?);
    let mut viewers: Vec<Viewer> = (0..pace.clients)
        .map(|index| Viewer {
            profile: profile.clone(),
            asked: index,
        })
        .collect();
    let changes = tokio::spawn(change_for_ever(
        presence,
        options.listeners,
        options.changes,
    ));
    let mut top = Line::new(&format!("pages, {} viewers at a time", pace.clients));
    for _ in 0..pace.rounds {
        top.add(&driver::flat_out(&mut viewers, pace.duration()).await?);
    }
    let mut easy = Line::new("pages, at half the top rate");
    let rate = top.median() * EASY_SHARE;
    for _ in 0..pace.rounds {
        easy.add(&driver::at_rate(&mut viewers, pace.duration(), rate).await?);
    }
    changes.abort();
    let title = format!(
        "The feed of {} listeners, {} status changes a second",
        options.listeners, options.changes
    );
    println!("{}", Report::new(&title, vec![top, easy]));
    Ok(())
}

async fn change_for_ever(
    presence: PresenceServiceClient<Channel>,
    listeners: i64,
    per_second: u32,
) {
    let for_ever = std::time::Duration::from_hours(1);
    statuses::at_rate(per_second.into(), for_ever, |number| {
        let mut presence = presence.clone();
        async move {
            let number = i64::try_from(number).unwrap_or_default();
            let user_id = FIRST + number * 7_919 % listeners;
            // One that is lost changes nothing here.
            let _ = statuses::change(&mut presence, user_id, number % WAITS).await;
        }
    })
    .await;
}

/// Asks for one kind of page after the other.
struct Viewer {
    profile: ProfileServiceClient<Channel>,
    asked: usize,
}

impl Worker for Viewer {
    async fn ask(&mut self) -> anyhow::Result<u64> {
        self.asked += 1;
        self.profile.list_listeners(request(self.asked)).await?;
        Ok(1)
    }
}

/// As people ask: mostly for who can be called now, sometimes with a wish.
fn request(number: usize) -> ListListenersRequest {
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
