//! The configuration that apps read at their start.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::app_config::{AppConfig, AppConfigFile};

const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Read the configuration of apps: versions, maintenance, features and contacts.
///
/// This needs no token. The answer may be cached for a minute. A request with the `ETag` of an earlier answer in
/// `If-None-Match` is answered with 304 as long as nothing has changed.
#[utoipa::path(
    get,
    path = "/app/config",
    tag = "app",
    security(()),
    params(("if-none-match" = Option<String>, Header, description = "The `ETag` of an earlier answer.")),
    responses(
        (status = 200, body = AppConfig),
        (status = 304, description = "Nothing has changed since that answer."),
    )
)]
pub(super) async fn read_app_config(
    State(file): State<AppConfigFile>,
    headers: HeaderMap,
) -> Response {
    let config = file.current();
    let caching = [(CACHE_CONTROL, CACHEABLE), (ETAG, config.etag.clone())];
    if is_current(&headers, &config.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let content_type = [(CONTENT_TYPE, "application/json")];
    (caching, content_type, config.body).into_response()
}

/// Returns whether `If-None-Match` names the tag, by the weak comparison (RFC 9110, 13.1.2).
fn is_current(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let current = opaque(etag.to_str().unwrap_or_default());
    let named = headers.get_all(IF_NONE_MATCH).into_iter();
    named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_compared_weakly_with_each_in_the_header() {
        let etag = HeaderValue::from_static("W/\"abc\"");
        for (header, expected) in [
            ("W/\"abc\"", true),
            ("\"abc\"", true),
            ("\"x\", W/\"abc\"", true),
            ("*", true),
            ("\"x\"", false),
            ("abc", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, header.parse().expect("valid"))]);
            assert_eq!(is_current(&headers, &etag), expected, "{header}");
        }
        assert!(!is_current(&HeaderMap::new(), &etag));
    }
}
