//! Access tokens that hold no more, kept at hand.
//!
//! Auth keeps them in Postgres. It tells of each new one on NATS, and every replica of the gateway asks
//! for the latest a few times a second, so a revoked token is refused within a second whatever became of
//! NATS or Redis. Requests look into memory alone. Only when auth has not answered for a second do they
//! ask Redis as well, where auth keeps the same (contract, section 2); when that is away too, nobody comes
//! in. Neither does anybody before the first answer: Redis alone may have been flushed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_nats::Client;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use prost::Message as _;
use prost_types::Timestamp;
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface;
use talktime_kit::{Clock, Error, Kind as ErrorKind};
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

/// How often Redis had to be asked, in the metrics.
const ASKED_OF_REDIS: &str = "gateway_revocations_asked_of_redis_total";
/// The known revocations are complete for so long after a poll. Deletions rely on it: auth waits as long.
const FRESH_FOR: Duration = REVOCATIONS_HOLD;
/// Several tries fit into that.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_TIMEOUT: Duration = Duration::from_millis(400);
/// The first load of a replica is many pages; more than this is a mistake somewhere.
const PAGES_MAX: usize = 1_000;
const FORGET_EVERY: Duration = Duration::from_mins(1);
const CHANGES_KEPT: usize = 1_024;

/// The tokens that are revoked and have not expired; cheap to clone.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    auth: AuthClient,
    redis: Pool,
    clock: Clock,
    known: RwLock<Known>,
    /// Whether auth has ever answered.
    is_loaded: watch::Sender<bool>,
    /// Whose tokens are concerned by what has become known.
    changes: broadcast::Sender<i64>,
}

/// What identifies a token, and what it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Whose it is.
    pub user_id: i64,
    /// Its `jti`.
    pub token_id: &'a str,
    /// Its `sid`.
    pub session_id: &'a str,
    /// Its `iat`, in seconds since 1970.
    pub issued_at: i64,
}

#[derive(Default)]
struct Known {
    /// When each is forgotten, by `jti` or `sid`: both are random ids, so they share a map.
    ids: HashMap<String, DateTime<Utc>>,
    users: HashMap<i64, RevokedUser>,
    /// Auth's clock at the latest answer.
    as_of: Option<Timestamp>,
    /// When that answer was asked for.
    asked_at: Option<Instant>,
}

/// Tokens that were issued until then hold no more.
#[derive(Clone, Copy)]
struct RevokedUser {
    issued_until: DateTime<Utc>,
    forgotten_at: DateTime<Utc>,
}

impl Revocations {
    /// Nothing known yet: [`Revocations::follow`] asks.
    pub fn new(auth: AuthClient, redis: Pool, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            auth,
            redis,
            clock,
            known: RwLock::default(),
            is_loaded: watch::Sender::new(false),
            changes: broadcast::Sender::new(CHANGES_KEPT),
        }))
    }

    /// Waits for auth's first answer.
    pub async fn wait(&self) {
        // The sender is in `self`: the wait ends with an answer or not at all.
        let _ = self
            .0
            .is_loaded
            .subscribe()
            .wait_for(|loaded| *loaded)
            .await;
    }

    /// Hears whose tokens are concerned, each time that something becomes known. Who falls behind
    /// must look at everyone.
    pub fn changes(&self) -> broadcast::Receiver<i64> {
        self.0.changes.subscribe()
    }

    /// Whether a token is revoked; unavailable when that cannot be known.
    pub async fn cover(&self, token: Identity<'_>) -> Result<bool, Error> {
        let (is_covered, is_fresh) = {
            let known = self.known();
            (known.cover(token), known.is_fresh())
        };
        if is_covered || is_fresh {
            return Ok(is_covered);
        }
        if !*self.0.is_loaded.borrow() {
            return Err(unavailable());
        }
        metrics::counter!(ASKED_OF_REDIS).increment(1);
        self.ask_redis(token).await
    }

    /// Asks auth now: whoever has just revoked something wants it to hold here when they are answered.
    /// If auth does not answer, the next regular question makes up for it.
    pub async fn refresh(&self) {
        if let Err(error) = self.ask_auth().await {
            tracing::debug!(%error, "revocations come with the next question");
        }
    }

    /// Follows auth until told to stop.
    pub async fn follow(self, nats: Client, stopping: CancellationToken) {
        // From zero on, so that the first is seen to be one more.
        metrics::counter!(ASKED_OF_REDIS).increment(0);
        tokio::select! {
            () = self.ask_again_and_again() => {}
            () = self.listen(nats) => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn ask_again_and_again(&self) {
        let mut forgot_at = Instant::now();
        let mut is_away = false;
        loop {
            let asked = self.ask_auth().await;
            if let Err(error) = &asked
                && !is_away
            {
                tracing::warn!(%error, "revocations were not fetched");
            }
            is_away = asked.is_err();
            if forgot_at.elapsed() > FORGET_EVERY {
                self.known_mut().forget_expired(self.0.clock.now());
                forgot_at = Instant::now();
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Never ends, so that questions go on without NATS.
    async fn listen(&self, nats: Client) {
        let subject = subject(&Kind::TokensRevoked(TokensRevoked::default()));
        match nats.subscribe(subject).await {
            Ok(mut told) => {
                while let Some(message) = told.next().await {
                    if let Ok(event) = Event::decode(message.payload)
                        && let Some(Kind::TokensRevoked(revoked)) = event.kind
                    {
                        self.add(revoked);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "revocations are only asked for"),
        }
        std::future::pending::<()>().await;
    }

    async fn ask_auth(&self) -> Result<(), Error> {
        let asked_at = Instant::now();
        let since = self.known().as_of;
        let mut after_id = 0;
        let mut as_of = None;
        for _ in 0..PAGES_MAX {
            let page = self.ask_for_page(since, after_id).await?;
            // The first page's: what is revoked while we read on comes with the next question.
            as_of = as_of.or(page.as_of);
            for revoked in page.revocations {
                self.add(revoked);
            }
            if !page.has_more {
                let mut known = self.known_mut();
                known.as_of = as_of;
                known.asked_at = known.asked_at.max(Some(asked_at));
                self.0.is_loaded.send_replace(true);
                return Ok(());
            }
            after_id = page.last_id;
        }
        Err(Error::internal("auth's list of revocations has no end"))
    }

    async fn ask_for_page(
        &self,
        since: Option<Timestamp>,
        after_id: i64,
    ) -> Result<ListRevocationsResponse, Error> {
        let mut request = tonic::Request::new(ListRevocationsRequest { since, after_id });
        request.set_timeout(ASK_TIMEOUT);
        let answer = self.0.auth.clone().list_revocations(request).await?;
        Ok(answer.into_inner())
    }

    fn add(&self, revoked: TokensRevoked) {
        let user_id = revoked.user_id;
        self.known_mut().add(revoked);
        self.tell(user_id);
    }

    fn tell(&self, user_id: i64) {
        // Fails only when nobody listens.
        let _ = self.0.changes.send(user_id);
    }

    async fn ask_redis(&self, token: Identity<'_>) -> Result<bool, Error> {
        let Identity {
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

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
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

impl Known {
    fn cover(&self, token: Identity<'_>) -> bool {
        self.ids.contains_key(token.token_id)
            || self.ids.contains_key(token.session_id)
            || self
                .users
                .get(&token.user_id)
                .is_some_and(|user| token.issued_at <= user.issued_until.timestamp())
    }

    fn is_fresh(&self) -> bool {
        self.asked_at.is_some_and(|at| at.elapsed() < FRESH_FOR)
    }

    fn add(&mut self, revoked: TokensRevoked) {
        let forgotten_at =
            datetime(revoked.expires_at.as_ref()).unwrap_or(DateTime::<Utc>::MAX_UTC);
        for id in revoked.token_ids.into_iter().chain(revoked.session_ids) {
            self.ids.insert(id, forgotten_at);
        }
        if let Some(issued_until) = datetime(revoked.issued_until.as_ref()) {
            self.add_user(revoked.user_id, issued_until, forgotten_at);
        }
    }

    fn add_user(&mut self, user_id: i64, issued_until: DateTime<Utc>, forgotten_at: DateTime<Utc>) {
        let user = self.users.entry(user_id).or_insert(RevokedUser {
            issued_until,
            forgotten_at,
        });
        user.issued_until = user.issued_until.max(issued_until);
        user.forgotten_at = user.forgotten_at.max(forgotten_at);
    }

    fn forget_expired(&mut self, now: DateTime<Utc>) {
        self.ids.retain(|_, forgotten_at| *forgotten_at > now);
        self.users.retain(|_, user| user.forgotten_at > now);
    }
}

#[cfg(test)]
mod tests {
    use talktime_proto::timestamp;

    use super::*;

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(secs, 0).expect("valid")
    }

    fn token(issued_at: i64) -> Identity<'static> {
        Identity {
            user_id: 7,
            token_id: "t1",
            session_id: "s1",
            issued_at,
        }
    }

    fn revoked(token_ids: &[&str], session_ids: &[&str], issued_until: Option<i64>) -> Known {
        let mut known = Known::default();
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
    fn a_token_goes_by_itself_with_its_session_or_with_its_user() {
        assert!(!Known::default().cover(token(1_000)));
        assert!(revoked(&["t1"], &[], None).cover(token(1_000)));
        assert!(revoked(&[], &["s1"], None).cover(token(1_000)));
        assert!(revoked(&[], &[], Some(1_000)).cover(token(1_000)));
        assert!(!revoked(&["t2"], &["s2"], Some(999)).cover(token(1_000)));
    }

    #[test]
    fn what_has_expired_is_forgotten_and_nothing_else() {
        let mut known = revoked(&["t1"], &[], Some(1_000));
        known.forget_expired(at(1_999));
        assert!(known.cover(token(1_000)));
        known.forget_expired(at(2_000));
        assert!(!known.cover(token(1_000)));
        assert!(known.ids.is_empty() && known.users.is_empty());
    }

    #[test]
    fn a_later_revocation_of_a_user_never_shortens_an_earlier_one() {
        let mut known = revoked(&[], &[], Some(1_000));
        known.add_user(7, at(500), at(1_500));
        assert!(known.cover(token(1_000)));
        known.forget_expired(at(1_500));
        assert!(known.cover(token(1_000)));
    }
}
