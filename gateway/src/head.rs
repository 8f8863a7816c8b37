//! Refuses ambiguous request heads, which a proxy in front of the gateway could interpret differently.

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use talktime_kit::{Error, ErrorKind};

/// Headers that must not be repeated. `Host` and `Idempotency-Key` have error codes of their own, and the HTTP library
/// checks `Content-Length`.
const SINGLE_VALUED: [HeaderName; 3] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static("x-razorpay-signature"),
];
const IDENTITY: &[u8] = b"identity";

/// Refuses a request without exactly one host (RFC 9112, section 3.2), with a repeated header that must have one value,
/// or with an encoded body, which the gateway does not decode (RFC 9110, section 15.5.16).
pub fn check_head<B>(request: &Request<B>) -> Result<(), Error> {
    let headers = request.headers();
    check_host(request)?;
    if let Some(name) = SINGLE_VALUED.iter().find(|name| is_repeated(headers, name)) {
        let detail = format!("The header {name} must not be repeated.");
        return Err(Error::invalid("repeated_header", detail));
    }
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|value| !value.as_bytes().eq_ignore_ascii_case(IDENTITY)) {
        return Err(Error::new(
            ErrorKind::UnsupportedMediaType,
            "unsupported_media_type",
            "The body must come without a Content-Encoding.",
        ));
    }
    Ok(())
}

/// Returns whether a request has this header more than once.
pub fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn check_host<B>(request: &Request<B>) -> Result<(), Error> {
    let headers = request.headers();
    let has_host = match headers.get(HOST) {
        Some(host) => is_authority(host) && !is_repeated(headers, &HOST),
        // HTTP/2 has the host in `:authority`, and HTTP/1.0 needs none.
        None => request.uri().authority().is_some() || request.version() == Version::HTTP_10,
    };
    if has_host {
        return Ok(());
    }
    Err(Error::invalid(
        "invalid_host",
        "The request must name one host.",
    ))
}

fn is_authority(host: &HeaderValue) -> bool {
    let authority = Authority::try_from(host.as_bytes());
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(uri: &str, version: Version, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refusal = check_head(&request.body(()).expect("a request")).err()?;
        Some(refusal.code().to_owned())
    }

    #[test]
    fn a_request_must_name_one_host() {
        let invalid = Some("invalid_host".to_owned());
        let one = [("host", "talktime.example:443")];
        assert_eq!(code_of("/", Version::HTTP_11, &one), None);
        assert_eq!(code_of("/", Version::HTTP_11, &[]), invalid);
        assert_eq!(code_of("/", Version::HTTP_11, &[one[0], one[0]]), invalid);
        for wrong in ["", "a b", "user@talktime.example", "a/b"] {
            let host = [("host", wrong)];
            assert_eq!(code_of("/", Version::HTTP_11, &host), invalid, "{wrong:?}");
        }
        assert_eq!(code_of("/", Version::HTTP_10, &[]), None);
        assert_eq!(code_of("http://a/", Version::HTTP_2, &[]), None);
        assert_eq!(code_of("/", Version::HTTP_2, &[]), invalid);
    }

    #[test]
    fn single_valued_headers_must_not_be_repeated() {
        for name in ["authorization", "content-type", "x-razorpay-signature"] {
            let twice = [("host", "a"), (name, "1"), (name, "1")];
            let code = code_of("/", Version::HTTP_11, &twice);
            assert_eq!(code.as_deref(), Some("repeated_header"), "{name}");
        }
        let accept = [("host", "a"), ("accept", "1"), ("accept", "2")];
        assert_eq!(code_of("/", Version::HTTP_11, &accept), None);
    }

    #[test]
    fn encoded_bodies_are_refused() {
        for (encoding, is_taken) in [("Identity", true), ("gzip", false), ("identity, br", false)] {
            let headers = [("host", "a"), ("content-encoding", encoding)];
            let code = code_of("/", Version::HTTP_11, &headers);
            assert_eq!(code.is_none(), is_taken, "{encoding}: {code:?}");
        }
    }
}
