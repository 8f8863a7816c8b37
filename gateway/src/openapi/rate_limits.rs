//! How often an endpoint may be asked, as the document says it: by the table that refuses.

use http::Method;
use serde_json::{Value, json};

use super::references::reference;
use crate::config::LimitsConfig;
use crate::limits::{self, Class};

/// The code of the refusal.
pub(super) const CODE: &str = "rate_limited";
/// What it means.
pub(super) const ABOUT: &str =
    "more requests in a minute than the class of this endpoint allows, see `x-rate-limit`";

/// The class of an endpoint; none for what is not counted.
pub(super) fn class_of(path: &str, method: &str) -> Option<Class> {
    let method: Method = method.to_uppercase().parse().expect("a method of HTTP");
    Class::of(&method, path)
}

/// `x-rate-limit`.
pub(super) fn extension(class: Class) -> Value {
    let by_default = class.limit(&LimitsConfig::default());
    json!({
        "class": class.name(),
        "counted_by": counted_by(class),
        "requests_a_minute_by_default": (by_default > 0).then_some(by_default),
    })
}

fn counted_by(class: Class) -> &'static str {
    match (class.is_by_address(), class.counts_strangers()) {
        (true, _) => "address",
        (false, true) => "user_or_address",
        (false, false) => "user",
    }
}

/// Names in the document of [`limits::HEADERS`], and what these say.
const HEADERS: [(&str, &str); 3] = [
    ("RateLimitLimit", "Requests a minute."),
    ("RateLimitRemaining", "Requests left of them."),
    (
        "RateLimitReset",
        "Seconds until all of them are there again.",
    ),
];

/// Adds the headers that tell a client where it stands.
pub(super) fn add_headers(answer: &mut Value) {
    for (header, (name, _)) in limits::HEADERS.into_iter().zip(HEADERS) {
        answer["headers"][header.as_str()] = reference("headers", name);
    }
}

/// The headers themselves.
pub(super) fn headers() -> [(&'static str, Value); 3] {
    HEADERS.map(|(name, about)| {
        let header = json!({
            "description": format!("{about} Only where the class of the endpoint is limited."),
            "schema": {"type": "integer", "minimum": 0},
        });
        (name, header)
    })
}
