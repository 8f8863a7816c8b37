//! How often somebody may ask, over all replicas: counted in Redis.
//!
//! A quota's window begins with somebody's first request and ends `window` later. Answers carry the
//! `RateLimit-*` headers (IETF draft-ietf-httpapi-ratelimit-headers-03), a refusal `Retry-After` too.
//! While Redis is away nobody is counted and everybody is served: a limit is there against too much,
//! not against strangers.

use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue};
use talktime_kit::redis::{Pool, Script};
use talktime_kit::{Error, Kind};

use crate::app::App;
use crate::problem::Problem;
use crate::token::Caller;

/// Requests that came in uncounted, in the metrics.
const UNCOUNTED: &str = "http_requests_uncounted_total";
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Counts a request. Answers how many there were in the window, and when it ends (ms).
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(
        "local count = redis.call('INCR', KEYS[1])
         local left = redis.call('PTTL', KEYS[1])
         if left < 0 then
           redis.call('PEXPIRE', KEYS[1], ARGV[1])
           left = tonumber(ARGV[1])
         end
         return {count, left}",
    )
});

/// So many requests in such a window.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Part of the key in Redis, and a label of metrics.
    pub name: &'static str,
    /// Requests in a window.
    pub max: u32,
    /// From the first of them.
    pub window: Duration,
}

/// Where somebody stands in a quota.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    limit: u32,
    count: u32,
    left: Duration,
}

/// Counts requests; cheap to clone.
#[derive(Clone)]
pub struct Limits {
    redis: Pool,
}

impl Limits {
    /// Counts in this Redis.
    pub fn new(redis: Pool) -> Self {
        // From zero on, so that the first is seen to be one more.
        metrics::counter!(UNCOUNTED, "quota" => FEED.name).increment(0);
        Self { redis }
    }

    /// Counts a request of `who`; none when Redis is away.
    pub async fn count(&self, quota: Quota, who: &str) -> Option<Standing> {
        match self.ask(quota, who).await {
            Ok(standing) => Some(standing),
            Err(error) => {
                metrics::counter!(UNCOUNTED, "quota" => quota.name).increment(1);
                tracing::debug!(%error, quota = quota.name, "a request was not counted");
                None
            }
        }
    }

    async fn ask(&self, quota: Quota, who: &str) -> Result<Standing, Error> {
        let key = format!("quota:{}:{who}", quota.name);
        let window_ms = quota.window.as_millis().to_string();
        let redis = self.redis.next();
        let (count, left_ms): (u32, u64) = COUNT
            .evalsha_with_reload(redis, vec![key], vec![window_ms])
            .await?;
        Ok(Standing {
            limit: quota.max,
            count,
            left: Duration::from_millis(left_ms),
        })
    }
}

impl Standing {
    /// Whether this request was one too many.
    pub fn is_refused(self) -> bool {
        self.count > self.limit
    }

    /// The refusal: 429.
    pub fn refusal(self) -> Response {
        let error = Error::new(
            Kind::RateLimited,
            "rate_limited",
            "Too many requests; please wait a moment.",
        )
        .with_retry_after(self.left);
        let mut response = Problem::from(error).into_response();
        self.write(response.headers_mut());
        response
    }

    /// Says so in an answer's headers.
    pub fn write(self, headers: &mut HeaderMap) {
        // Rounded up: at the said second the window is over.
        let reset = self.left.as_millis().div_ceil(1_000);
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        let remaining = self.limit.saturating_sub(self.count);
        headers.insert(REMAINING, HeaderValue::from(remaining));
        let reset = u64::try_from(reset).unwrap_or(u64::MAX);
        headers.insert(RESET, HeaderValue::from(reset));
    }
}

/// The feed, per user (contract, section 5).
const FEED: Quota = Quota {
    name: "feed",
    max: 100,
    window: Duration::from_mins(1),
};

fn quota_of(route: &str) -> Option<Quota> {
    route.starts_with("/feed/").then_some(FEED)
}

/// Around every request: counts those to routes with a quota. Who has no good token is not counted; the
/// handler tells them so.
pub async fn within_quotas(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let Some(quota) = route.and_then(|route| quota_of(route.as_str())) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &app).await;
    let standing = match caller {
        Ok(caller) => {
            let limits = Limits::from_ref(&app);
            limits.count(quota, &caller.user_id.to_string()).await
        }
        Err(_) => None,
    };
    if let Some(standing) = standing.filter(|standing| standing.is_refused()) {
        return standing.refusal();
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    response
}

/// The headers of [`Standing::write`], for whoever writes an answer anew.
pub const HEADERS: [HeaderName; 3] = [LIMIT, REMAINING, RESET];

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(count: u32) -> Standing {
        Standing {
            limit: 100,
            count,
            left: Duration::from_millis(1_200),
        }
    }

    #[test]
    fn the_request_after_the_last_is_refused() {
        assert!(!standing(100).is_refused());
        assert!(standing(101).is_refused());
    }

    #[test]
    fn headers_say_how_many_are_left_and_until_when() {
        let mut headers = HeaderMap::new();
        standing(97).write(&mut headers);
        assert_eq!(headers[LIMIT], "100");
        assert_eq!(headers[REMAINING], "3");
        assert_eq!(headers[RESET], "2");
        standing(101).write(&mut headers);
        assert_eq!(headers[REMAINING], "0");
    }
}
