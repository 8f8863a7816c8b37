//! Receives the events that the services publish during the demo.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::ServerAddr;
use futures::StreamExt;
use prost::Message as _;
use talktime_client::StoreAddress;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::{STREAM_SUBJECTS, subject};

/// Time within which all expected events must arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// Time without any event after which no more events of the demo are expected.
const QUIET: Duration = Duration::from_secs(1);

/// The events of the demo since its beginning.
pub(crate) struct EventRecorder {
    subscriber: async_nats::Subscriber,
    recorded: Vec<Kind>,
}

/// The ids of the demo, by which its events are recognized.
pub(crate) struct DemoIds {
    pub(crate) user_ids: [i64; 2],
    pub(crate) call_ids: [i64; 2],
}

/// The user or call that an event is about.
enum EventOwner {
    User(i64),
    Call(i64),
}

impl EventRecorder {
    /// Subscribes to everything that is published from now on.
    pub(crate) async fn subscribe(nats: &StoreAddress) -> Result<Self> {
        let address: ServerAddr = nats.url().parse().context("not an address of NATS")?;
        let login = |part: Option<&str>| part.unwrap_or_default().to_owned();
        let (user, password) = (login(address.username()), login(address.password()));
        let options = nats.nats_options().user_and_password(user, password);
        let nats = options.connect(address).await;
        let nats = nats.context("cannot connect to NATS")?;
        let subscriber = nats.subscribe(STREAM_SUBJECTS).await?;
        // The flush ensures that the server knows the subscription.
        nats.flush().await?;
        Ok(Self {
            subscriber,
            recorded: Vec::new(),
        })
    }

    /// Returns the events of the demo in the order of their arrival, once all `expected` ones have arrived; an
    /// error names the first that is missing.
    pub(crate) async fn collect(mut self, ids: &DemoIds, expected: &[&str]) -> Result<Vec<Kind>> {
        let all_recorded = async {
            while let Some(missing) = self.find_missing(expected) {
                let next = self.subscriber.next().await;
                let message = next.with_context(|| format!("NATS ended before {missing}"))?;
                self.record(&message, ids)?;
            }
            anyhow::Ok(())
        };
        if tokio::time::timeout(ARRIVAL_MAX, all_recorded)
            .await
            .is_err()
        {
            let missing = self.find_missing(expected).unwrap_or_default();
            anyhow::bail!("no {missing} was published within {ARRIVAL_MAX:?}");
        }
        while let Ok(Some(message)) = tokio::time::timeout(QUIET, self.subscriber.next()).await {
            self.record(&message, ids)?;
        }
        Ok(self.recorded)
    }

    fn find_missing<'a>(&self, expected: &[&'a str]) -> Option<&'a str> {
        let is_recorded = |name: &str| self.recorded.iter().any(|kind| subject(kind) == name);
        expected.iter().copied().find(|name| !is_recorded(name))
    }

    fn record(&mut self, message: &async_nats::Message, ids: &DemoIds) -> Result<()> {
        let event = Event::decode(message.payload.as_ref())
            .with_context(|| format!("{} is not an event", message.subject))?;
        if let Some(kind) = event.kind.filter(|kind| ids.include(kind)) {
            self.recorded.push(kind);
        }
        Ok(())
    }
}

impl DemoIds {
    fn include(&self, kind: &Kind) -> bool {
        match find_owner(kind) {
            EventOwner::User(user_id) => self.user_ids.contains(&user_id),
            EventOwner::Call(call_id) => self.call_ids.contains(&call_id),
        }
    }
}

fn find_owner(kind: &Kind) -> EventOwner {
    match kind {
        Kind::LoggedIn(event) => EventOwner::User(event.user_id),
        Kind::LoggedOut(event) => EventOwner::User(event.user_id),
        Kind::TokensRevoked(event) => EventOwner::User(event.user_id),
        Kind::UserRegistered(event) => EventOwner::User(event.user_id),
        Kind::UserUpdated(event) => EventOwner::User(event.user_id),
        Kind::UserDeleted(event) => EventOwner::User(event.user_id),
        Kind::FavoriteAdded(event) => EventOwner::User(event.user_id),
        Kind::FavoriteRemoved(event) => EventOwner::User(event.user_id),
        Kind::UserBlocked(event) => EventOwner::User(event.user_id),
        Kind::UserUnblocked(event) => EventOwner::User(event.user_id),
        Kind::RoleChanged(event) => EventOwner::User(event.user_id),
        Kind::StatusChanged(event) => EventOwner::User(event.user_id),
        Kind::CoinsAdded(event) => EventOwner::User(event.user_id),
        Kind::Charged(event) => EventOwner::User(event.user_id),
        Kind::Earned(event) => EventOwner::User(event.user_id),
        Kind::LowBalance(event) => EventOwner::User(event.user_id),
        Kind::WithdrawalUpdated(event) => EventOwner::User(event.user_id),
        Kind::PaymentReversed(event) => EventOwner::User(event.user_id),
        Kind::CallStarted(event) => EventOwner::Call(event.call_id),
        Kind::MinuteBilled(event) => EventOwner::Call(event.call_id),
        Kind::CallEnded(event) => EventOwner::Call(event.call_id),
        Kind::CallHungUp(event) => EventOwner::Call(event.call_id),
        Kind::CallLowBalance(event) => EventOwner::Call(event.call_id),
        Kind::CallRated(event) => EventOwner::Call(event.call_id),
        Kind::CallRinging(event) => EventOwner::Call(event.call_id),
        Kind::CallReached(event) => EventOwner::Call(event.call_id),
        Kind::CallAccepted(event) => EventOwner::Call(event.call_id),
        Kind::CallUnanswered(event) => EventOwner::Call(event.call_id),
        Kind::CallsPaused(event) => EventOwner::User(event.listener_id),
        Kind::VerificationSubmitted(event) => EventOwner::User(event.user_id),
        Kind::VerificationReviewed(event) => EventOwner::User(event.user_id),
        Kind::VerificationRevoked(event) => EventOwner::User(event.user_id),
        Kind::PhotoReviewed(event) => EventOwner::User(event.user_id),
        Kind::PhotoDeleted(event) => EventOwner::User(event.user_id),
        Kind::DataExportReady(event) => EventOwner::User(event.user_id),
    }
}

/// Describes an event in one line: its subject, its user or call, and its details.
pub(crate) fn describe_event(kind: &Kind) -> String {
    let owner = match find_owner(kind) {
        EventOwner::User(user_id) => format!("user {user_id}"),
        EventOwner::Call(call_id) => format!("call {call_id}"),
    };
    let details = describe_details(kind).map_or_else(String::new, |details| format!(", {details}"));
    format!("{:<32} {owner}{details}", subject(kind))
}

/// Describes what an event contains besides its user or call, if that is of interest.
fn describe_details(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::UserRegistered(event) => format!("{}, {}", event.username, event.role),
        Kind::UserUpdated(event) => event.username.clone(),
        Kind::FavoriteAdded(event) => format!("listener {}", event.listener_id),
        Kind::FavoriteRemoved(event) => format!("listener {}", event.listener_id),
        Kind::UserBlocked(event) => format!("user {}, {}", event.blocked_id, event.action_type),
        Kind::UserUnblocked(event) => format!("user {}", event.blocked_id),
        Kind::RoleChanged(event) if event.active => format!("is now {}", event.role),
        Kind::RoleChanged(event) => format!("is no longer {}", event.role),
        Kind::StatusChanged(event) => {
            let online = if event.is_online { "online" } else { "offline" };
            let busy = if event.is_busy { "busy" } else { "free" };
            format!("{online}, {busy}")
        }
        Kind::CoinsAdded(event) => {
            format!("+{} coins, balance {}", event.coins, event.balance_coins)
        }
        Kind::Charged(event) => format!(
            "-{} coins, balance {}, {}",
            event.coins, event.balance_coins, event.transfer_id
        ),
        Kind::Earned(event) => format!("+{} paise, {}", event.paise, event.transfer_id),
        Kind::LowBalance(event) => format!("balance {}", event.balance_coins),
        Kind::WithdrawalUpdated(event) => {
            format!("withdrawal {}, {}", event.withdrawal_id, event.status)
        }
        Kind::PaymentReversed(event) => format!("-{} coins, {}", event.coins_taken, event.reason),
        Kind::CallStarted(event) => format!(
            "{} calls {}, {}",
            event.user_id, event.listener_id, event.call_type
        ),
        Kind::MinuteBilled(event) => {
            format!(
                "minute {}, {} coins so far",
                event.minute, event.coins_spent
            )
        }
        Kind::CallEnded(event) => format!("{}, minutes {}", event.status, event.duration_minutes),
        Kind::CallLowBalance(event) => format!("{} coins left", event.remaining_coins),
        Kind::CallRated(event) => {
            format!(
                "listener {}, ratings {}",
                event.listener_id, event.ratings_total
            )
        }
        Kind::CallRinging(event) => format!(
            "{} rings {}, {}",
            event.user_id, event.listener_id, event.call_type
        ),
        Kind::CallAccepted(event) => event.status.clone(),
        Kind::CallUnanswered(event) => format!("{}, {}", event.outcome, event.reason),
        Kind::CallsPaused(event) => format!("{} rings in a row", event.count),
        Kind::VerificationSubmitted(event) => format!("verification {}", event.verification_id),
        Kind::VerificationReviewed(event) => event.status.clone(),
        Kind::PhotoReviewed(event) => event.status.clone(),
        _ => return None,
    })
}
