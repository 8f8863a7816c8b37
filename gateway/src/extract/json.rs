//! JSON bodies. The answer to an invalid body lists all invalid fields at once.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use eserde::{DeserializationError, EDeserialize};
use futures::StreamExt;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use talktime_kit::error::FieldError;
use talktime_kit::{Error, ErrorKind};

use crate::problem::Problem;

/// Much larger than any valid body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Valid bodies have at most three levels.
const NESTING_MAX: usize = 32;

/// The rest of a body that is too large is read up to this size, so that the client receives the answer.
const DRAINED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The name of the field in an error of the whole body.
const WHOLE_BODY: &str = "body";

/// A JSON object as a request body, or any answer as JSON. Bodies derive `eserde::Deserialize`, with
/// `#[serde(default)]` on optional fields.
pub struct Json<T>(pub T);

/// The bytes of a body, for signatures over them.
pub struct RawBody(pub Vec<u8>);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        Ok(Self(read_body(request.into_body()).await?))
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
        let body = read_body(request.into_body()).await?;
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
        ErrorKind::UnsupportedMediaType,
        "unsupported_media_type",
        "The body must be application/json.",
    )
}

/// Reads a body. A body that is too large is read further for a while, because most clients read the answer only after
/// they have sent the request.
pub(super) async fn read_body(body: Body) -> Result<Vec<u8>, Error> {
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
            ErrorKind::TooLarge,
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
        return Err(invalid_body(vec![whole_body_error(
            "expected a JSON object",
        )]));
    }
    if nesting_depth(body) > NESTING_MAX {
        return Err(invalid_body(vec![whole_body_error("nested too deeply")]));
    }
    let first_error = match serde_json::from_slice(body) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let fields = match eserde::json::from_slice::<T>(body) {
        Err(errors) if first_error.is_data() => errors.iter().map(field_error).collect(),
        // Not JSON, or more than one value.
        _ => vec![whole_body_error(&first_error.to_string())],
    };
    Err(invalid_body(fields))
}

/// Returns the refusal of a body without this field, for fields that are required only in some cases.
pub fn missing_field_error(field: &str) -> Error {
    invalid_body(vec![missing_field(field.to_owned())])
}

/// Returns the number of nested objects and arrays. It is exact for JSON, and never too small for other texts.
fn nesting_depth(body: &[u8]) -> usize {
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

fn invalid_body(fields: Vec<FieldError>) -> Error {
    Error::new(
        ErrorKind::Unprocessable,
        "invalid_body",
        "The body is not valid for this endpoint; see errors.",
    )
    .with_fields(fields)
}

fn whole_body_error(message: &str) -> FieldError {
    FieldError {
        field: WHOLE_BODY.to_owned(),
        message: without_position(message).to_owned(),
    }
}

/// Converts an error of the parser, which reports a missing field with the path of its object.
fn field_error(error: &DeserializationError) -> FieldError {
    let message = without_position(error.message());
    let object = error.path().filter(|path| path.iter().next().is_some());
    let object = object.map(ToString::to_string);
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    match (object, missing) {
        (None, None) => whole_body_error(message),
        (None, Some(field)) => missing_field(field.to_owned()),
        (Some(object), Some(field)) => missing_field(format!("{object}.{field}")),
        (Some(field), None) => FieldError {
            field,
            message: message.to_owned(),
        },
    }
}

fn missing_field(field: String) -> FieldError {
    FieldError {
        field,
        message: "is missing".to_owned(),
    }
}

/// Removes line and column, which do not help the user of a form.
fn without_position(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |position| &message[..position])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::number::DecimalNumber;

    #[derive(Debug, eserde::Deserialize, PartialEq)]
    struct TestBody {
        phone: String,
        #[serde(default)]
        minutes: Option<i64>,
        #[serde(default)]
        account: Option<TestAccount>,
        #[serde(default)]
        #[eserde(compat)]
        amount: Option<DecimalNumber>,
    }

    #[derive(Debug, eserde::Deserialize, PartialEq)]
    struct TestAccount {
        number: String,
    }

    fn errors(body: &str) -> Vec<(String, String)> {
        let error = parse::<TestBody>(body.as_bytes()).expect_err("an invalid body");
        assert_eq!(error.kind(), ErrorKind::Unprocessable);
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
    fn a_valid_body_is_read() {
        let body = parse::<TestBody>(br#" {"phone": "+91", "more": 1, "amount": 1.50} "#);
        let expected = TestBody {
            phone: "+91".to_owned(),
            minutes: None,
            account: None,
            amount: DecimalNumber::parse("1.50"),
        };
        assert_eq!(body.expect("a valid body"), expected);
    }

    #[test]
    fn every_invalid_field_is_named() {
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
    fn a_valid_number_beside_an_invalid_field_is_no_error() {
        assert_eq!(
            errors(r#"{"amount": 150}"#),
            listed(&[("phone", "is missing")])
        );
    }

    #[test]
    fn a_body_that_is_not_an_object_is_refused_as_a_whole() {
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
    fn invalid_json_is_refused_as_a_whole() {
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
    fn nesting_is_counted_outside_of_strings() {
        assert_eq!(nesting_depth(br#"{"a": [{"b": "[[[[\"[["}], "c": {}}"#), 3);
        assert_eq!(nesting_depth(b"1"), 0);
        let deep = "[".repeat(NESTING_MAX);
        let body = format!(
            r#"{{"phone": "+91", "more": {deep}{}}}"#,
            "]".repeat(NESTING_MAX)
        );
        assert_eq!(errors(&body), listed(&[("body", "nested too deeply")]));
    }

    #[test]
    fn only_the_media_types_of_json_are_accepted() {
        let headers_with_type =
            |value| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        for value in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/a+json",
        ] {
            assert!(is_json(&headers_with_type(value)), "{value}");
        }
        for value in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "text/json",
            "",
        ] {
            assert!(!is_json(&headers_with_type(value)), "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
