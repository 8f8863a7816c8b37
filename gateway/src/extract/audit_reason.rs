//! The reason that an admin gives for a request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use talktime_kit::{Error, text};

use crate::head::is_repeated;

/// The header with the reason.
pub const AUDIT_REASON: HeaderName = HeaderName::from_static("x-audit-reason");
/// Longest reason in characters.
pub const AUDIT_REASON_CHARS_MAX: usize = 200;

/// The `X-Audit-Reason` header, if there is one. The audit log keeps it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditReason(pub Option<Arc<str>>);

impl AuditReason {
    /// Reads the header, whose text is UTF-8.
    ///
    /// # Errors
    /// `invalid_audit_reason`: it is repeated, empty, too long or no text of one line.
    pub fn parse(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(value) = headers.get(AUDIT_REASON) else {
            return Ok(Self(None));
        };
        let text = std::str::from_utf8(value.as_bytes()).ok();
        let text = text.filter(|_| !is_repeated(headers, &AUDIT_REASON));
        let line = text.and_then(|text| text::normalize_line(text, AUDIT_REASON_CHARS_MAX).ok());
        let line = line.ok_or_else(invalid_reason)?;
        Ok(Self(Some(line.into())))
    }
}

fn invalid_reason() -> Error {
    let detail = "X-Audit-Reason must be one line of text with at most 200 characters.";
    Error::invalid("invalid_audit_reason", detail)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(value: &[u8]) -> Result<Option<String>, String> {
        let value = HeaderValue::from_bytes(value).expect("a header");
        let reason = AuditReason::parse(&HeaderMap::from_iter([(AUDIT_REASON, value)]));
        reason
            .map(|reason| reason.0.map(|reason| reason.to_string()))
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn a_reason_is_one_line_of_any_language() {
        assert_eq!(
            AuditReason::parse(&HeaderMap::new()).ok(),
            Some(AuditReason(None))
        );
        assert_eq!(parse(b" ticket 7 "), Ok(Some("ticket 7".to_owned())));
        let hindi = "शिकायत 7";
        assert_eq!(parse(hindi.as_bytes()), Ok(Some(hindi.to_owned())));
    }

    #[test]
    fn other_reasons_are_refused() {
        let too_long = "x".repeat(AUDIT_REASON_CHARS_MAX + 1);
        for reason in [b"".as_slice(), b"  ", b"\xff", too_long.as_bytes()] {
            assert_eq!(parse(reason), Err("invalid_audit_reason".to_owned()));
        }
        let twice = ["one", "two"].map(|value| (AUDIT_REASON, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(name, value);
        }
        assert!(AuditReason::parse(&headers).is_err());
    }
}
