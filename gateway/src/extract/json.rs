//! JSON bodies. A wrong one is answered with everything that is wrong with it at once.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use eserde::{DeserializationError, EDeserialize};
use futures::StreamExt;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use talktime_kit::error::FieldError;
use talktime_kit::{Error, Kind};

use crate::problem::Problem;

/// No body of ours comes near it.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Our own bodies nest three deep.
const NESTING_MAX: usize = 32;

/// A client that sends more than this is cut off.
const DRAINED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What an error of the whole body calls its field.
const WHOLE_BODY: &str = "body";

/// A JSON object as request body (derive `eserde::Deserialize`, with `#[serde(default)]` on optional
/// fields), or any answer as JSON.
pub struct Json<T>(pub T);

/// A body as it came, for what is signed over its bytes.
pub struct RawBody(pub Vec<u8>);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        Ok(Self(read(request.into_body()).await?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: for<'de> EDeserialize<'de>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(unsupported_media_type().into());
        }
        let body = read(request.into_body()).await?;
        Ok(Self(parse(&body)?))
    }
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

pub(super) fn unsupported_media_type() -> Error {
    Error::new(
        Kind::UnsupportedMediaType,
        "unsupported_media_type",
        "The body must be application/json.",
    )
}

/// Reads a body. What is too large is still taken in for a while: a client that is writing sees our
/// answer only when it has written.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, Error> {
    let mut chunks = body.into_data_stream();
    let mut kept = Vec::new();
    let mut seen_bytes = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unreadable)?;
        seen_bytes += chunk.len();
        if seen_bytes <= BODY_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        } else if seen_bytes > DRAINED_BYTES_MAX {
            break;
        }
    }
    if seen_bytes > BODY_BYTES_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            "body_too_large",
            "The body is too large.",
        ));
    }
    Ok(kept)
}

fn unreadable(error: axum::Error) -> Error {
    Error::invalid("unreadable_body", "The body could not be read.").with_source(error)
}

pub(super) fn parse<T: for<'de> EDeserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    // Without this an array would do: serde reads a struct from its values in order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(invalid(vec![whole_body("expected a JSON object")]));
    }
    if nesting(body) > NESTING_MAX {
        return Err(invalid(vec![whole_body("nested too deeply")]));
    }
    let first_error = match serde_json::from_slice(body) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let fields = match eserde::json::from_slice::<T>(body) {
        Err(errors) if first_error.is_data() => errors.iter().map(field_error).collect(),
        // Not JSON, or more than one value.
        _ => vec![whole_body(&first_error.to_string())],
    };
    Err(invalid(fields))
}

/// What a body without this field is answered, where it takes the whole body to see that it lacks one.
pub fn missing_field(field: &str) -> Error {
    invalid(vec![is_missing(field.to_owned())])
}

/// How deep objects and arrays lie in each other; right for JSON, and never too small for what is not.
fn nesting(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn invalid(fields: Vec<FieldError>) -> Error {
    Error::new(
        Kind::Unprocessable,
        "invalid_body",
        "The body is not what this endpoint takes; see errors.",
    )
    .with_fields(fields)
}

fn whole_body(message: &str) -> FieldError {
    FieldError {
        field: WHOLE_BODY.to_owned(),
        message: without_position(message).to_owned(),
    }
}

/// A missing field is reported for the object that lacks it; here the field itself is named.
fn field_error(error: &DeserializationError) -> FieldError {
    let message = without_position(error.message());
    let object = error.path().filter(|path| path.iter().next().is_some());
    let object = object.map(ToString::to_string);
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    match (object, missing) {
        (None, None) => whole_body(message),
        (None, Some(field)) => is_missing(field.to_owned()),
        (Some(object), Some(field)) => is_missing(format!("{object}.{field}")),
        (Some(field), None) => FieldError {
            field,
            message: message.to_owned(),
        },
    }
}

fn is_missing(field: String) -> FieldError {
    FieldError {
        field,
        message: "is missing".to_owned(),
    }
}

/// Line and column mean nothing to who fills in a form.
fn without_position(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |position| &message[..position])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::number::Number;

    #[derive(Debug, eserde::Deserialize, PartialEq)]
    struct Body {
        phone: String,
        #[serde(default)]
        minutes: Option<i64>,
        #[serde(default)]
        account: Option<Account>,
        #[serde(default)]
        #[eserde(compat)]
        amount: Option<Number>,
    }

    #[derive(Debug, eserde::Deserialize, PartialEq)]
    struct Account {
        number: String,
    }

    fn errors(body: &str) -> Vec<(String, String)> {
        let error = parse::<Body>(body.as_bytes()).expect_err("a wrong body");
        assert_eq!(error.kind(), Kind::Unprocessable);
        assert_eq!(error.code(), "invalid_body");
        let fields = error.fields().iter();
        fields
            .map(|error| (error.field.clone(), error.message.clone()))
            .collect()
    }

    fn listed(errors: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(field, message): &(&str, &str)| (field.to_string(), message.to_string());
        errors.iter().map(owned).collect()
    }

    #[test]
    fn a_right_body_is_read() {
        let body = parse::<Body>(br#" {"phone": "+91", "more": 1, "amount": 1.50} "#);
        let expected = Body {
            phone: "+91".to_owned(),
            minutes: None,
            account: None,
            amount: Number::parse("1.50"),
        };
        assert_eq!(body.expect("a right body"), expected);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let body = r#"{"minutes": "ten", "account": {}, "amount": "1"}"#;
        assert_eq!(
            errors(body),
            listed(&[
                ("minutes", "invalid type: string \"ten\", expected i64"),
                ("account.number", "is missing"),
                ("amount", "invalid type, expected a number"),
                ("phone", "is missing"),
            ])
        );
    }

    #[test]
    fn a_right_number_is_no_error_beside_a_wrong_field() {
        assert_eq!(
            errors(r#"{"amount": 150}"#),
            listed(&[("phone", "is missing")])
        );
    }

    #[test]
    fn what_is_not_an_object_is_wrong_as_a_whole() {
        for body in ["", "phone", "null", "[\"+91\", 1]", "\"{}\""] {
            assert_eq!(
                errors(body),
                listed(&[("body", "expected a JSON object")]),
                "{body:?}"
            );
        }
        let errors = errors(r#"{"phone": "+91"} {}"#);
        assert_eq!(errors, listed(&[("body", "trailing characters")]));
    }

    #[test]
    fn broken_json_is_an_error_of_its_own() {
        assert_eq!(
            errors(r#"{"phone": "#),
            listed(&[("body", "EOF while parsing a value")])
        );
        assert_eq!(
            errors(r#"{"phone": "+91",}"#),
            listed(&[("body", "trailing comma")])
        );
    }

    #[test]
    fn nesting_is_counted_outside_of_texts() {
        assert_eq!(nesting(br#"{"a": [{"b": "[[[[\"[["}], "c": {}}"#), 3);
        assert_eq!(nesting(b"1"), 0);
        let deep = "[".repeat(NESTING_MAX);
        let body = format!(
            r#"{{"phone": "+91", "more": {deep}{}}}"#,
            "]".repeat(NESTING_MAX)
        );
        assert_eq!(errors(&body), listed(&[("body", "nested too deeply")]));
    }

    #[test]
    fn json_comes_under_its_media_types_only() {
        let of = |value| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        for value in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/a+json",
        ] {
            assert!(is_json(&of(value)), "{value}");
        }
        for value in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "text/json",
            "",
        ] {
            assert!(!is_json(&of(value)), "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
