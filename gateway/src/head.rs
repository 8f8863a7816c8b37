//! Heads of requests that could be read in two ways. They are refused, because a proxy in front of us or a
//! service behind us might read them in the other way.

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use talktime_kit::{Error, Kind};

/// Headers that have one value, apart from `Host` and `Idempotency-Key`, whose problems have codes of their
/// own. The protocol itself sees to `Content-Length`.
const SINGLE: [HeaderName; 3] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static("x-razorpay-signature"),
];
const IDENTITY: &[u8] = b"identity";

/// Refuses a request without one host (RFC 9112, section 3.2), with two values where there can be one, or
/// with an encoded body, which nobody here decodes (RFC 9110, section 15.5.16).
pub fn check<B>(request: &Request<B>) -> Result<(), Error> {
    let headers = request.headers();
    check_host(request)?;
    if let Some(name) = SINGLE.iter().find(|name| is_repeated(headers, name)) {
        let detail = format!("The header {name} must not be repeated.");
        return Err(Error::invalid("repeated_header", detail));
    }
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|value| !value.as_bytes().eq_ignore_ascii_case(IDENTITY)) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "unsupported_media_type",
            "The body must come without a Content-Encoding.",
        ));
    }
    Ok(())
}

/// Whether a header comes more than once.
pub fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn check_host<B>(request: &Request<B>) -> Result<(), Error> {
    let headers = request.headers();
    let has_host = match headers.get(HOST) {
        Some(host) => is_authority(host) && !is_repeated(headers, &HOST),
        // HTTP/2 has the host in `:authority`, and HTTP/1.0 had none.
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
        let refusal = check(&request.body(()).expect("a request")).err()?;
        Some(refusal.code().to_owned())
    }

    #[test]
    fn a_request_names_one_host() {
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
    fn a_header_that_means_one_thing_comes_once() {
        for name in ["authorization", "content-type", "x-razorpay-signature"] {
            let twice = [("host", "a"), (name, "1"), (name, "1")];
            let code = code_of("/", Version::HTTP_11, &twice);
            assert_eq!(code.as_deref(), Some("repeated_header"), "{name}");
        }
        let accept = [("host", "a"), ("accept", "1"), ("accept", "2")];
        assert_eq!(code_of("/", Version::HTTP_11, &accept), None);
    }

    #[test]
    fn a_body_comes_as_it_is() {
        for (encoding, is_taken) in [("Identity", true), ("gzip", false), ("identity, br", false)] {
            let headers = [("host", "a"), ("content-encoding", encoding)];
            let code = code_of("/", Version::HTTP_11, &headers);
            assert_eq!(code.is_none(), is_taken, "{encoding}: {code:?}");
        }
    }
}
