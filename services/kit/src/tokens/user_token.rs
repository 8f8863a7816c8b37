//! The text of an access token, which neither logs nor errors may contain.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::invalid_token;
use crate::error::Error;

/// The access token of a user; cheap to clone.
#[derive(Clone, Eq, PartialEq)]
pub struct UserToken(Arc<str>);

impl UserToken {
    /// Wraps the text of a token, which need not be valid.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserToken(…)")
    }
}

/// Returns the token of an `Authorization: Bearer` header (RFC 6750), or `None` without the header.
///
/// # Errors
/// The header contains something else.
pub fn parse_bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(invalid_token)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(Some(token))
    } else {
        Err(invalid_token())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(value: &'static str) -> Result<Option<String>, String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        parse_bearer(&headers)
            .map(|token| token.map(str::to_owned))
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn the_scheme_is_not_case_sensitive() {
        assert_eq!(parse("Bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(parse("bearer  abc "), Ok(Some("abc".to_owned())));
        assert_eq!(parse_bearer(&HeaderMap::new()).map_err(|_| ()), Ok(None));
    }

    #[test]
    fn a_malformed_header_is_an_invalid_token() {
        for value in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(parse(value), Err("invalid_token".to_owned()), "{value:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", UserToken::new("a.b.c")).contains("a.b.c"));
    }
}
