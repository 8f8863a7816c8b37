//! Revoked access tokens, stored in memory.
//!
//! Auth stores revocations in Postgres and publishes each new one on NATS. Every replica of the gateway also polls
//! auth a few times a second, so a revoked token is refused within a second even without NATS and Redis. Requests
//! read the memory only. If auth has not answered for a second, they also read Redis, where auth stores the same
//! (contract, section 2). If Redis is unavailable too, requests are refused. They are also refused until the first
//! answer of auth, because Redis alone may have lost its data.
//!
//! A replica without requests and sockets polls seldom. The list is not trusted then, and the first request waits for a
//! poll.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_nats::Client;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use prost::Message as _;
use prost_types::Timestamp;
use talktime_kit::pace::{FrequentPolls, PollPace};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface;
use talktime_kit::{Clock, Error, ErrorKind};
use talktime_proto::auth::v1::{ListRevocationsRequest, ListRevocationsResponse};
use talktime_proto::auth::{
    REVOCATIONS_HOLD, ended_session_key, revoked_before_key, revoked_token_key,
};
use talktime_proto::datetime;
use talktime_proto::events::subject;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, TokensRevoked};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clients::AuthClient;

const REDIS_LOOKUPS: &str = "gateway_revocations_asked_of_redis_total";
/// The revocations in memory are trusted for this time after a poll. Deletions rely on it: auth waits as long.
const FRESH_FOR: Duration = REVOCATIONS_HOLD;
/// Short enough for several attempts in that time.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// The pause between polls while there are neither requests nor sockets.
const POLL_UNUSED_EVERY: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(400);
/// The first poll of a replica has many pages. More than this number is a bug.
const PAGES_MAX: usize = 1_000;
const CLEAN_EVERY: Duration = Duration::from_mins(1);
const CHANGES_KEPT: usize = 1_024;

/// The revoked tokens that have not expired; cheap to clone.
#[derive(Clone)]
pub struct RevocationList(Arc<RevocationListState>);

struct RevocationListState {
    auth: AuthClient,
    redis: Pool,
    clock: Clock,
    known: RwLock<KnownRevocations>,
    /// Whether auth has answered at least once.
    is_loaded: watch::Sender<bool>,
    /// The users of new revocations.
    changes: broadcast::Sender<i64>,
    pace: PollPace,
}

/// Identifies a token, its session and its user.
#[derive(Clone, Copy, Debug)]
pub struct AccessTokenRef<'a> {
    /// The user of the token.
    pub user_id: i64,
    /// Its `jti`.
    pub token_id: &'a str,
    /// Its `sid`.
    pub session_id: &'a str,
    /// Its `iat`, in seconds since 1970.
    pub issued_at: i64,
}

#[derive(Default)]
struct KnownRevocations {
    /// When each revocation can be removed, by `jti` or `sid`. Both are random ids, so they share a map.
    ids: HashMap<String, DateTime<Utc>>,
    users: HashMap<i64, RevokedUserTokens>,
    /// The time of the latest answer, by the clock of auth.
    as_of: Option<Timestamp>,
    /// When that answer was requested.
    polled_at: Option<Instant>,
}

/// All tokens of a user up to a time of issue are revoked.
#[derive(Clone, Copy)]
struct RevokedUserTokens {
    issued_until: DateTime<Utc>,
    removable_at: DateTime<Utc>,
}

impl RevocationList {
    /// Creates an empty list, which [`RevocationList::run`] fills.
    pub fn new(auth: AuthClient, redis: Pool, clock: Clock) -> Self {
        Self(Arc::new(RevocationListState {
            auth,
            redis,
            clock,
            known: RwLock::default(),
            is_loaded: watch::Sender::new(false),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            pace: PollPace::default(),
        }))
    }

    /// Waits for the first answer of auth.
    pub async fn wait_until_loaded(&self) {
        // The sender is in `self`, so the channel stays open during the wait.
        let _ = self
            .0
            .is_loaded
            .subscribe()
            .wait_for(|loaded| *loaded)
            .await;
    }

    /// Subscribes to the users of new revocations. A receiver that lags must check all users.
    pub fn subscribe(&self) -> broadcast::Receiver<i64> {
        self.0.changes.subscribe()
    }

    /// Keeps the list current until the answer is dropped, for a socket, which does not look its token up again.
    pub fn keep_current(&self) -> FrequentPolls {
        self.0.pace.hold()
    }

    /// Returns whether a token is revoked. Fails as unavailable when that cannot be determined.
    pub async fn is_revoked(&self, token: AccessTokenRef<'_>) -> Result<bool, Error> {
        self.0.pace.record_use(POLL_TIMEOUT).await;
        let (is_revoked, is_fresh) = {
            let known = self.known();
            (known.contains(token), known.is_fresh())
        };
        if is_revoked || is_fresh {
            return Ok(is_revoked);
        }
        if !*self.0.is_loaded.borrow() {
            return Err(unavailable());
        }
        metrics::counter!(REDIS_LOOKUPS).increment(1);
        self.is_revoked_in_redis(token).await
    }

    /// Polls auth at once, so that a revocation by the current request is effective before its answer. If auth does
    /// not answer, the next regular poll compensates.
    pub async fn refresh(&self) {
        if let Err(error) = self.poll_auth().await {
            tracing::debug!(%error, "failed to fetch revocations; the next poll will");
        }
    }

    /// Updates the list until `stopping` is cancelled.
    pub async fn run(self, nats: Client, stopping: CancellationToken) {
        // Starts at zero, so that the first increase is visible.
        metrics::counter!(REDIS_LOOKUPS).increment(0);
        tokio::select! {
            () = self.poll_forever() => {}
            () = self.follow_events(nats) => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn poll_forever(&self) {
        let mut cleaned_at = Instant::now();
        let mut is_failing = false;
        loop {
            let polled = self.poll_auth().await;
            if let Err(error) = &polled
                && !is_failing
            {
                tracing::warn!(%error, "failed to fetch revocations; will retry");
            }
            is_failing = polled.is_err();
            self.0.pace.record_poll();
            if cleaned_at.elapsed() > CLEAN_EVERY {
                self.known_mut().remove_expired(self.0.clock.now());
                cleaned_at = Instant::now();
            }
            if is_failing {
                tokio::time::sleep(POLL_EVERY).await;
            } else {
                self.0.pace.wait(POLL_EVERY, POLL_UNUSED_EVERY).await;
            }
        }
    }

    /// Never ends, so that polling continues without NATS.
    async fn follow_events(&self, nats: Client) {
        let subject = subject(&Kind::TokensRevoked(TokensRevoked::default()));
        match nats.subscribe(subject).await {
            Ok(mut messages) => {
                while let Some(message) = messages.next().await {
                    if let Ok(event) = Event::decode(message.payload)
                        && let Some(Kind::TokensRevoked(revoked)) = event.kind
                    {
                        self.add(revoked);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "failed to subscribe to revocations; they are only polled");
            }
        }
        std::future::pending::<()>().await;
    }

    async fn poll_auth(&self) -> Result<(), Error> {
        let polled_at = Instant::now();
        let since = self.known().as_of;
        let mut after_id = 0;
        let mut as_of = None;
        for _ in 0..PAGES_MAX {
            let page = self.load_page(since, after_id).await?;
            // The time of the first page: a revocation in the meantime is part of the next poll.
            as_of = as_of.or(page.as_of);
            for revoked in page.revocations {
                self.add(revoked);
            }
            if !page.has_more {
                let mut known = self.known_mut();
                known.as_of = as_of;
                known.polled_at = known.polled_at.max(Some(polled_at));
                self.0.is_loaded.send_replace(true);
                return Ok(());
            }
            after_id = page.last_id;
        }
        Err(Error::internal(
            "the list of revocations has too many pages",
        ))
    }

    async fn load_page(
        &self,
        since: Option<Timestamp>,
        after_id: i64,
    ) -> Result<ListRevocationsResponse, Error> {
        let mut request = tonic::Request::new(ListRevocationsRequest { since, after_id });
        request.set_timeout(POLL_TIMEOUT);
        let answer = self.0.auth.clone().list_revocations(request).await?;
        Ok(answer.into_inner())
    }

    fn add(&self, revoked: TokensRevoked) {
        let user_id = revoked.user_id;
        self.known_mut().add(revoked);
        // Fails only when there is no receiver.
        let _ = self.0.changes.send(user_id);
    }

    async fn is_revoked_in_redis(&self, token: AccessTokenRef<'_>) -> Result<bool, Error> {
        let AccessTokenRef {
            user_id,
            token_id,
            session_id,
            issued_at,
        } = token;
        let keys = vec![
            revoked_token_key(user_id, token_id),
            ended_session_key(user_id, session_id),
            revoked_before_key(user_id),
        ];
        let (one, session, all): (Option<String>, Option<String>, Option<i64>) =
            self.0.redis.mget(keys).await?;
        Ok(one.is_some()
            || session.is_some()
            || all.is_some_and(|revoked_before| issued_at <= revoked_before))
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, KnownRevocations> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> std::sync::RwLockWriteGuard<'_, KnownRevocations> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "revocations_unavailable",
        "Please try again in a moment.",
    )
}

impl KnownRevocations {
    fn contains(&self, token: AccessTokenRef<'_>) -> bool {
        self.ids.contains_key(token.token_id)
            || self.ids.contains_key(token.session_id)
            || self
                .users
                .get(&token.user_id)
                .is_some_and(|user| token.issued_at <= user.issued_until.timestamp())
    }

    fn is_fresh(&self) -> bool {
        self.polled_at.is_some_and(|at| at.elapsed() < FRESH_FOR)
    }

    fn add(&mut self, revoked: TokensRevoked) {
        let removable_at =
            datetime(revoked.expires_at.as_ref()).unwrap_or(DateTime::<Utc>::MAX_UTC);
        for id in revoked.token_ids.into_iter().chain(revoked.session_ids) {
            self.ids.insert(id, removable_at);
        }
        if let Some(issued_until) = datetime(revoked.issued_until.as_ref()) {
            self.add_user(revoked.user_id, issued_until, removable_at);
        }
    }

    fn add_user(&mut self, user_id: i64, issued_until: DateTime<Utc>, removable_at: DateTime<Utc>) {
        let user = self.users.entry(user_id).or_insert(RevokedUserTokens {
            issued_until,
            removable_at,
        });
        user.issued_until = user.issued_until.max(issued_until);
        user.removable_at = user.removable_at.max(removable_at);
    }

    fn remove_expired(&mut self, now: DateTime<Utc>) {
        self.ids.retain(|_, removable_at| *removable_at > now);
        self.users.retain(|_, user| user.removable_at > now);
    }
}

#[cfg(test)]
mod tests {
    use talktime_proto::timestamp;

    use super::*;

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(secs, 0).expect("valid")
    }

    fn token(issued_at: i64) -> AccessTokenRef<'static> {
        AccessTokenRef {
            user_id: 7,
            token_id: "t1",
            session_id: "s1",
            issued_at,
        }
    }

    fn revoked(
        token_ids: &[&str],
        session_ids: &[&str],
        issued_until: Option<i64>,
    ) -> KnownRevocations {
        let mut known = KnownRevocations::default();
        known.add(TokensRevoked {
            user_id: 7,
            token_ids: token_ids.iter().map(ToString::to_string).collect(),
            session_ids: session_ids.iter().map(ToString::to_string).collect(),
            issued_until: issued_until.map(at).map(timestamp),
            expires_at: Some(timestamp(at(2_000))),
        });
        known
    }

    #[test]
    fn a_token_is_revoked_by_itself_with_its_session_or_with_its_user() {
        assert!(!KnownRevocations::default().contains(token(1_000)));
        assert!(revoked(&["t1"], &[], None).contains(token(1_000)));
        assert!(revoked(&[], &["s1"], None).contains(token(1_000)));
        assert!(revoked(&[], &[], Some(1_000)).contains(token(1_000)));
        assert!(!revoked(&["t2"], &["s2"], Some(999)).contains(token(1_000)));
    }

    #[test]
    fn only_expired_revocations_are_removed() {
        let mut known = revoked(&["t1"], &[], Some(1_000));
        known.remove_expired(at(1_999));
        assert!(known.contains(token(1_000)));
        known.remove_expired(at(2_000));
        assert!(!known.contains(token(1_000)));
        assert!(known.ids.is_empty() && known.users.is_empty());
    }

    #[test]
    fn a_later_revocation_of_a_user_never_shortens_an_earlier_one() {
        let mut known = revoked(&[], &[], Some(1_000));
        known.add_user(7, at(500), at(1_500));
        assert!(known.contains(token(1_000)));
        known.remove_expired(at(1_500));
        assert!(known.contains(token(1_000)));
    }
}
