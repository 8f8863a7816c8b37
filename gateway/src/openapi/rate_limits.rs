//! The description of rate limits, made from the table that enforces them.

use http::Method;
use serde_json::{Value, json};

use super::references::reference;
use crate::config::RateLimitsConfig;
use crate::limits::{self, RateClass};

pub(super) const CODE: &str = "rate_limited";
pub(super) const DESCRIPTION: &str =
    "more requests in a minute than the class of this endpoint allows, see `x-rate-limit`";

/// Returns the class of an endpoint, or `None` for one that is not limited.
pub(super) fn class_of(path: &str, method: &str) -> Option<RateClass> {
    let method: Method = method.to_uppercase().parse().expect("a method of HTTP");
    RateClass::of(&method, path)
}

/// Builds the value of `x-rate-limit`.
pub(super) fn extension(class: RateClass) -> Value {
    let by_default = class.limit(&RateLimitsConfig::default());
    json!({
        "class": class.name(),
        "counted_by": counted_by(class),
        "requests_a_minute_by_default": (by_default > 0).then_some(by_default),
    })
}

fn counted_by(class: RateClass) -> &'static str {
    match (class.is_by_address(), class.counts_unknown_users()) {
        (true, _) => "address",
        (false, true) => "user_or_address",
        (false, false) => "user",
    }
}

/// The component names and descriptions of [`limits::HEADERS`].
const HEADERS: [(&str, &str); 3] = [
    ("RateLimitLimit", "The requests that are allowed a minute."),
    (
        "RateLimitRemaining",
        "The requests that remain in this minute.",
    ),
    (
        "RateLimitReset",
        "The seconds until all of them are available again.",
    ),
];

/// Adds the headers that report the state of the limit.
pub(super) fn add_headers(answer: &mut Value) {
    for (header, (name, _)) in limits::HEADERS.into_iter().zip(HEADERS) {
        answer["headers"][header.as_str()] = reference("headers", name);
    }
}

/// Returns the components of these headers.
pub(super) fn headers() -> [(&'static str, Value); 3] {
    HEADERS.map(|(name, about)| {
        let header = json!({
            "description": format!("{about} Present only if the class of the endpoint is limited."),
            "schema": {"type": "integer", "minimum": 0},
        });
        (name, header)
    })
}
