//! How often anybody may ask: a count a minute for each person and class of endpoints, and for each
//! address where nobody is known. The counts are in Redis, so that replicas share them.
//!
//! A window begins with its first request: simple to tell a client of, at the price that twice the
//! limit may pass around the turn of a window.
//!
//! Each replica counts in memory as well. It refuses by itself who is over the limit here already, so that a
//! burst costs Redis no more than the limit. When Redis does not answer, the replica's own count decides:
//! then as many times the limit may pass as there are replicas, and nobody is refused for an outage of ours.

mod class;
mod own_counts;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::{FromRef, FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use talktime_kit::breaker::CircuitBreaker;
use talktime_kit::redis::{Pool, Script};
use talktime_kit::{Error, Kind};

pub use class::Class;
use own_counts::{Count, OwnCounts, WINDOW};

use crate::config::LimitsConfig;
use crate::extract::{ClientAddress, TrustedProxies};
use crate::problem::Problem;
use crate::token::{Caller, Tokens};

/// Requests that Redis did not count, in the metrics.
const UNCOUNTED: &str = "http_requests_uncounted_total";

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("count.lua")));

/// The headers that tell a client where it stands.
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// All of them.
pub const HEADERS: [HeaderName; 3] = [LIMIT, REMAINING, RESET];

/// Counts requests; cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    config: LimitsConfig,
    redis: Pool,
    breaker: CircuitBreaker,
    own: OwnCounts,
}

/// Where a client stands after a request.
struct Standing {
    limit: u32,
    count: u32,
    resets_in: Duration,
}

impl Limits {
    /// Counts in this Redis.
    pub fn new(config: LimitsConfig, redis: Pool) -> Self {
        // From zero on, so that the first is seen to be one more.
        metrics::counter!(UNCOUNTED, "quota" => Class::Feed.name()).increment(0);
        Self(Arc::new(Inner {
            config,
            redis,
            breaker: CircuitBreaker::default(),
            own: OwnCounts::default(),
        }))
    }

    /// Counts a request of `who`, here and then in Redis.
    async fn count(&self, class: Class, limit: u32, who: &str) -> Standing {
        let key = format!("limit:{}:{who}", class.name());
        let now = Instant::now();
        let own = self.0.own.add(&key, now);
        let count = if own.requests > limit {
            own
        } else if let Some(shared) = self.count_in_redis(&key, now).await {
            self.0.own.take_over(&key, shared, now);
            shared
        } else {
            metrics::counter!(UNCOUNTED, "quota" => class.name()).increment(1);
            own
        };
        Standing {
            limit,
            count: count.requests,
            resets_in: count.window_ends_at.saturating_duration_since(now),
        }
    }

    /// None where Redis does not answer: each of its commands has a deadline (`kit::redis`). A shorter one
    /// would pass while this replica is merely busy, and give up what all replicas count together.
    async fn count_in_redis(&self, key: &str, now: Instant) -> Option<Count> {
        let Inner { redis, breaker, .. } = &*self.0;
        if !breaker.allows_call(now) {
            return None;
        }
        let window_ms = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        let counted =
            COUNT.evalsha_with_reload::<(u32, u64), _, _>(redis.next(), key, window_ms.to_string());
        let Ok((requests, left_ms)) = counted.await else {
            breaker.record_failure(Instant::now());
            return None;
        };
        breaker.record_success();
        Some(Count {
            requests,
            window_ends_at: now + Duration::from_millis(left_ms),
        })
    }
}

impl Standing {
    fn is_over(&self) -> bool {
        self.count > self.limit
    }

    fn refusal(&self) -> Error {
        Error::new(
            Kind::RateLimited,
            "rate_limited",
            "Too many requests; please wait.",
        )
        .with_retry_after(self.resets_in)
    }

    /// Rounded up, as `Retry-After` is.
    fn resets_in_secs(&self) -> u64 {
        u64::try_from(self.resets_in.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
    }

    fn tell(&self, response: &mut Response) {
        let headers = response.headers_mut();
        let remaining = self.limit.saturating_sub(self.count);
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(remaining));
        headers.insert(RESET, HeaderValue::from(self.resets_in_secs()));
    }
}

/// Refuses who asks too often, and tells everybody where they stand.
pub async fn enforce<S>(State(state): State<S>, request: Request, next: Next) -> Response
where
    S: Clone + Send + Sync + 'static,
    Limits: FromRef<S>,
    Tokens: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    let limits = Limits::from_ref(&state);
    let route = request.extensions().get::<MatchedPath>();
    let class = route.and_then(|route| Class::of(request.method(), route.as_str()));
    let counted = class.map(|class| (class, class.limit(&limits.0.config)));
    let Some((class, limit)) = counted.filter(|(_, limit)| *limit > 0) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let standing = match who(class, &mut parts, &state).await {
        Some(who) => Some(limits.count(class, limit, &who).await),
        None => None,
    };
    let mut response = match &standing {
        Some(standing) if standing.is_over() => {
            metrics::counter!("rate_limited_total", "class" => class.name()).increment(1);
            Problem::from(standing.refusal()).into_response()
        }
        _ => next.run(Request::from_parts(parts, body)).await,
    };
    if let Some(standing) = standing {
        standing.tell(&mut response);
    }
    response
}

/// Whose count it is; none where nobody is counted. A caller that is found out on the way is left for the handler; what is wrong
/// with a token is the handler's to say, and its sender's address is counted.
async fn who<S>(class: Class, parts: &mut Parts, state: &S) -> Option<String>
where
    S: Send + Sync,
    Tokens: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    if !class.is_by_address()
        && parts.headers.contains_key(AUTHORIZATION)
        && let Ok(caller) = Caller::from_request_parts(parts, state).await
    {
        let who = format!("user:{}", caller.user_id);
        parts.extensions.insert(caller);
        return Some(who);
    }
    if !class.counts_strangers() {
        return None;
    }
    let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, state).await;
    Some(format!("address:{address}"))
}
