//! Rate limits: a number of requests a minute for each user and class of endpoints, or for each address where the
//! user is unknown. An IPv6 network of 64 bits counts as one address, because one client has all of it. The counts are in Redis, so that replicas share them.
//!
//! A window begins with its first request. This is simple to explain to clients; in return, up to twice the limit may
//! pass around the end of a window.
//!
//! Each replica also counts in memory. It refuses requests beyond the limit by itself, so that a burst costs Redis no
//! more than the limit. While Redis is unavailable, the count of the replica decides: then the limit applies to each
//! replica separately, and no request is refused because of the outage.

mod class;
mod local_counts;

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
use talktime_kit::{Error, ErrorKind};

pub use class::RateClass;
use local_counts::{LocalRequestCounts, RequestCount, WINDOW};

use crate::config::RateLimitsConfig;
use crate::extract::{AddressKey, TrustedProxies};
use crate::problem::Problem;
use crate::token::{CurrentUser, TokenVerifier};

const UNCOUNTED: &str = "http_requests_uncounted_total";

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("count.lua")));

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// The headers that report the state of a limit to the client.
pub const HEADERS: [HeaderName; 3] = [LIMIT, REMAINING, RESET];

/// Counts requests and refuses those beyond the limits; cheap to clone.
#[derive(Clone)]
pub struct RateLimiter(Arc<RateLimiterParts>);

struct RateLimiterParts {
    config: RateLimitsConfig,
    redis: Pool,
    breaker: CircuitBreaker,
    local: LocalRequestCounts,
}

/// The state of a limit after a request.
struct RateLimitState {
    limit: u32,
    count: u32,
    resets_in: Duration,
}

impl RateLimiter {
    /// Creates a limiter whose counts are in this Redis.
    pub fn new(config: RateLimitsConfig, redis: Pool) -> Self {
        // Starts at zero, so that the first increase is visible.
        metrics::counter!(UNCOUNTED, "quota" => RateClass::Feed.name()).increment(0);
        Self(Arc::new(RateLimiterParts {
            config,
            redis,
            breaker: CircuitBreaker::default(),
            local: LocalRequestCounts::default(),
        }))
    }

    /// Counts a request of `subject`, in memory and then in Redis.
    async fn count(&self, class: RateClass, limit: u32, subject: &str) -> RateLimitState {
        let key = format!("limit:{}:{subject}", class.name());
        let now = Instant::now();
        let local = self.0.local.add(&key, now);
        let count = if local.requests > limit {
            local
        } else if let Some(shared) = self.count_in_redis(&key, now).await {
            self.0.local.adopt(&key, shared, now);
            shared
        } else {
            metrics::counter!(UNCOUNTED, "quota" => class.name()).increment(1);
            local
        };
        RateLimitState {
            limit,
            count: count.requests,
            resets_in: count.window_ends_at.saturating_duration_since(now),
        }
    }

    /// Returns `None` if Redis does not answer. Each command has a deadline (`kit::redis`). A shorter one would expire
    /// while this replica is merely busy, and lose the count that all replicas share.
    async fn count_in_redis(&self, key: &str, now: Instant) -> Option<RequestCount> {
        let RateLimiterParts { redis, breaker, .. } = &*self.0;
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
        Some(RequestCount {
            requests,
            window_ends_at: now + Duration::from_millis(left_ms),
        })
    }
}

impl RateLimitState {
    fn is_exceeded(&self) -> bool {
        self.count > self.limit
    }

    fn refusal(&self) -> Error {
        Error::new(
            ErrorKind::RateLimited,
            "rate_limited",
            "Too many requests; please wait.",
        )
        .with_retry_after(self.resets_in)
    }

    /// Rounded up, like `Retry-After`.
    fn resets_in_secs(&self) -> u64 {
        u64::try_from(self.resets_in.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
    }

    fn set_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        let remaining = self.limit.saturating_sub(self.count);
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(remaining));
        headers.insert(RESET, HeaderValue::from(self.resets_in_secs()));
    }
}

/// Refuses requests beyond the limit, and adds the state of the limit to every answer.
pub async fn enforce_limits<S>(State(state): State<S>, request: Request, next: Next) -> Response
where
    S: Clone + Send + Sync + 'static,
    RateLimiter: FromRef<S>,
    TokenVerifier: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    let limiter = RateLimiter::from_ref(&state);
    let route = request.extensions().get::<MatchedPath>();
    let class = route.and_then(|route| RateClass::of(request.method(), route.as_str()));
    let counted = class.map(|class| (class, class.limit(&limiter.0.config)));
    let Some((class, limit)) = counted.filter(|(_, limit)| *limit > 0) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let rate_state = match subject_of(class, &mut parts, &state).await {
        Some(subject) => Some(limiter.count(class, limit, &subject).await),
        None => None,
    };
    let mut response = match &rate_state {
        Some(rate_state) if rate_state.is_exceeded() => {
            metrics::counter!("rate_limited_total", "class" => class.name()).increment(1);
            Problem::from(rate_state.refusal()).into_response()
        }
        _ => next.run(Request::from_parts(parts, body)).await,
    };
    if let Some(rate_state) = rate_state {
        rate_state.set_headers(&mut response);
    }
    response
}

/// Returns the subject whose requests are counted, or `None` for a request that is not counted. A verified user is
/// stored for the handler. A request with an invalid token counts for its address; the handler refuses it.
async fn subject_of<S>(class: RateClass, parts: &mut Parts, state: &S) -> Option<String>
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    if !class.is_by_address()
        && parts.headers.contains_key(AUTHORIZATION)
        && let Ok(current_user) = CurrentUser::from_request_parts(parts, state).await
    {
        let subject = format!("user:{}", current_user.user_id);
        parts.extensions.insert(current_user);
        return Some(subject);
    }
    if !class.counts_unknown_users() {
        return None;
    }
    let Ok(address) = AddressKey::from_request_parts(parts, state).await;
    Some(format!("address:{address}"))
}
