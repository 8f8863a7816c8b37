//! Listening to the events that the services publish, from outside.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use prost::Message as _;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::{STREAM_SUBJECTS, subject};

const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// No event for so long: nothing of ours is under way any more.
const QUIET: Duration = Duration::from_secs(1);

/// Everything published since the demo began.
pub(crate) struct Listening {
    subscriber: async_nats::Subscriber,
    heard: Vec<Kind>,
}

/// Whose events the demo is about.
pub(crate) struct Ours {
    pub(crate) user_ids: [i64; 2],
    pub(crate) call_id: i64,
}

impl Listening {
    /// Hears everything that is published from now on.
    pub(crate) async fn begin(nats_url: &str) -> Result<Self> {
        let nats = async_nats::connect(nats_url)
            .await
            .context("NATS is not there")?;
        let subscriber = nats.subscribe(STREAM_SUBJECTS).await?;
        // Until the server knows of the subscription it would not send.
        nats.flush().await?;
        Ok(Self {
            subscriber,
            heard: Vec::new(),
        })
    }

    /// Our events, in the order they came, once every one of `expected` was among them; an error
    /// names the first that was not.
    pub(crate) async fn collect(mut self, ours: &Ours, expected: &[&str]) -> Result<Vec<Kind>> {
        let all_heard = async {
            while let Some(missing) = self.missing(expected) {
                let next = self.subscriber.next().await;
                let message = next.with_context(|| format!("NATS ended before {missing}"))?;
                self.hear(&message, ours)?;
            }
            anyhow::Ok(())
        };
        if tokio::time::timeout(HEARD_WITHIN, all_heard).await.is_err() {
            let missing = self.missing(expected).unwrap_or_default();
            anyhow::bail!("no {missing} was published within {HEARD_WITHIN:?}");
        }
        while let Ok(Some(message)) = tokio::time::timeout(QUIET, self.subscriber.next()).await {
            self.hear(&message, ours)?;
        }
        Ok(self.heard)
    }

    fn missing<'a>(&self, expected: &[&'a str]) -> Option<&'a str> {
        let is_heard = |wanted: &str| self.heard.iter().any(|kind| subject(kind) == wanted);
        expected.iter().copied().find(|wanted| !is_heard(wanted))
    }

    fn hear(&mut self, message: &async_nats::Message, ours: &Ours) -> Result<()> {
        let event = Event::decode(message.payload.as_ref())
            .with_context(|| format!("{} is not an event", message.subject))?;
        if let Some(kind) = event.kind.filter(|kind| ours.has(kind)) {
            self.heard.push(kind);
        }
        Ok(())
    }
}

impl Ours {
    fn has(&self, kind: &Kind) -> bool {
        let is_ours = |user_id: i64| self.user_ids.contains(&user_id);
        match kind {
            Kind::LoggedIn(event) => is_ours(event.user_id),
            Kind::LoggedOut(event) => is_ours(event.user_id),
            Kind::TokensRevoked(event) => is_ours(event.user_id),
            Kind::UserRegistered(event) => is_ours(event.user_id),
            Kind::UserUpdated(event) => is_ours(event.user_id),
            Kind::UserDeleted(event) => is_ours(event.user_id),
            Kind::FavoriteAdded(event) => is_ours(event.user_id),
            Kind::FavoriteRemoved(event) => is_ours(event.user_id),
            Kind::UserBlocked(event) => is_ours(event.user_id),
            Kind::UserUnblocked(event) => is_ours(event.user_id),
            Kind::RoleChanged(event) => is_ours(event.user_id),
            Kind::StatusChanged(event) => is_ours(event.user_id),
            Kind::CoinsAdded(event) => is_ours(event.user_id),
            Kind::Charged(event) => is_ours(event.user_id),
            Kind::Earned(event) => is_ours(event.user_id),
            Kind::LowBalance(event) => is_ours(event.user_id),
            Kind::WithdrawalUpdated(event) => is_ours(event.user_id),
            Kind::PaymentReversed(event) => is_ours(event.user_id),
            Kind::CallStarted(event) => event.call_id == self.call_id,
            Kind::MinuteBilled(event) => event.call_id == self.call_id,
            Kind::CallEnded(event) => event.call_id == self.call_id,
            Kind::CallHungUp(event) => event.call_id == self.call_id,
            Kind::CallLowBalance(event) => event.call_id == self.call_id,
            Kind::CallRated(event) => event.call_id == self.call_id,
            Kind::CallRinging(event) => event.call_id == self.call_id,
            Kind::CallReached(event) => event.call_id == self.call_id,
            Kind::CallAccepted(event) => event.call_id == self.call_id,
            Kind::CallUnanswered(event) => event.call_id == self.call_id,
            Kind::CallsPaused(event) => is_ours(event.listener_id),
            Kind::VerificationSubmitted(event) => is_ours(event.user_id),
            Kind::VerificationReviewed(event) => is_ours(event.user_id),
            Kind::VerificationRevoked(event) => is_ours(event.user_id),
        }
    }
}

/// An event in a line: its subject and what matters of it.
pub(crate) fn describe(kind: &Kind) -> String {
    let what = match kind {
        Kind::LoggedIn(event) => format!("user {}", event.user_id),
        Kind::LoggedOut(event) => format!("user {}", event.user_id),
        Kind::TokensRevoked(event) => format!("user {}", event.user_id),
        Kind::UserRegistered(event) => {
            format!("user {}, {}, {}", event.user_id, event.username, event.role)
        }
        Kind::UserUpdated(event) => format!("user {}, {}", event.user_id, event.username),
        Kind::UserDeleted(event) => format!("user {}", event.user_id),
        Kind::FavoriteAdded(event) => format!("user {}, {}", event.user_id, event.listener_id),
        Kind::FavoriteRemoved(event) => format!("user {}, {}", event.user_id, event.listener_id),
        Kind::UserBlocked(event) => {
            format!(
                "user {}, {}, {}",
                event.user_id, event.blocked_id, event.action_type
            )
        }
        Kind::UserUnblocked(event) => format!("user {}, {}", event.user_id, event.blocked_id),
        Kind::RoleChanged(event) => {
            let change = if event.active {
                "is now"
            } else {
                "is no longer"
            };
            format!("user {} {change} {}", event.user_id, event.role)
        }
        Kind::StatusChanged(event) => {
            let online = if event.is_online { "online" } else { "offline" };
            let busy = if event.is_busy { "busy" } else { "free" };
            format!("user {}, {online}, {busy}", event.user_id)
        }
        Kind::CoinsAdded(event) => format!(
            "user {}, +{} coins, balance {}",
            event.user_id, event.coins, event.balance_coins
        ),
        Kind::Charged(event) => format!(
            "user {}, -{} coins, balance {}, {}",
            event.user_id, event.coins, event.balance_coins, event.transfer_id
        ),
        Kind::Earned(event) => format!(
            "user {}, +{} paise, {}",
            event.user_id, event.paise, event.transfer_id
        ),
        Kind::LowBalance(event) => {
            format!("user {}, balance {}", event.user_id, event.balance_coins)
        }
        Kind::WithdrawalUpdated(event) => format!(
            "user {}, withdrawal {}, {}",
            event.user_id, event.withdrawal_id, event.status
        ),
        Kind::PaymentReversed(event) => format!(
            "user {}, -{} coins, {}",
            event.user_id, event.coins_taken, event.reason
        ),
        Kind::CallStarted(event) => format!(
            "call {}, {} calls {}, {}",
            event.call_id, event.user_id, event.listener_id, event.call_type
        ),
        Kind::MinuteBilled(event) => format!(
            "call {}, minute {}, {} coins so far",
            event.call_id, event.minute, event.coins_spent
        ),
        Kind::CallEnded(event) => format!(
            "call {}, {}, minutes {}",
            event.call_id, event.status, event.duration_minutes
        ),
        Kind::CallHungUp(event) => format!("call {}", event.call_id),
        Kind::CallLowBalance(event) => format!(
            "call {}, {} coins left",
            event.call_id, event.remaining_coins
        ),
        Kind::CallRated(event) => format!(
            "call {}, listener {}, ratings {}",
            event.call_id, event.listener_id, event.ratings_total
        ),
        Kind::CallRinging(event) => format!(
            "call {}, {} rings {}, {}",
            event.call_id, event.user_id, event.listener_id, event.call_type
        ),
        Kind::CallReached(event) => format!("call {}", event.call_id),
        Kind::CallAccepted(event) => format!("call {}, {}", event.call_id, event.status),
        Kind::CallUnanswered(event) => format!(
            "call {}, {}, {}",
            event.call_id, event.outcome, event.reason
        ),
        Kind::CallsPaused(event) => format!(
            "listener {}, {} rings in a row",
            event.listener_id, event.count
        ),
        Kind::VerificationSubmitted(event) => {
            format!("user {}, {}", event.user_id, event.verification_id)
        }
        Kind::VerificationReviewed(event) => format!("user {}, {}", event.user_id, event.status),
        Kind::VerificationRevoked(event) => format!("user {}", event.user_id),
    };
    format!("{:<32} {what}", subject(kind))
}
