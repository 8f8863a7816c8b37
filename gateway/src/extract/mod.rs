//! Extractors of the parts of requests. An invalid request is answered with a problem document.

mod audit_reason;
mod body_or_query;
mod client_address;
mod json;
mod optional_json;
mod roles;

use std::convert::Infallible;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query as AxumQuery};
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, Uri};
use serde::de::DeserializeOwned;
use talktime_kit::{Error, ErrorKind};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::head::is_repeated;
use crate::problem::Problem;

pub use audit_reason::{AUDIT_REASON, AUDIT_REASON_CHARS_MAX, AuditReason};
pub use body_or_query::BodyOrQuery;
pub use client_address::{AddressKey, ClientAddress, IpNetwork, TrustedProxies};
pub use json::{BODY_BYTES_MAX, Json, RawBody, missing_field_error};
pub use optional_json::OptionalJson;
pub use roles::{AdminUser, ListenerUser, is_admin};

/// Query parameters. A parameter without a value is treated as missing (contract, section 11). An invalid one is
/// answered with 400, because a query is not a body (contract, section 1).
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let uri = without_empty_values(query)?;
        let AxumQuery(query) = AxumQuery::try_from_uri(&uri).map_err(invalid_query)?;
        Ok(Self(query))
    }
}

/// Returns an address with the parameters of this query that have a value.
fn without_empty_values(query: &str) -> Result<Uri, Error> {
    let parameters = query.split('&');
    let given: Vec<&str> = parameters
        .filter(|parameter| {
            let value = parameter.split_once('=').map(|(_, value)| value);
            value.is_some_and(|value| !value.is_empty())
        })
        .collect();
    let uri = format!("/?{}", given.join("&")).parse::<Uri>();
    uri.map_err(|error| {
        Error::invalid("invalid_query", "The query is not valid.").with_source(error)
    })
}

fn invalid_query(rejection: QueryRejection) -> Error {
    let text = rejection.body_text();
    // "Failed to deserialize query string: page: invalid digit found in string"
    let reason = text.split_once(": ").map_or("", |(_, reason)| reason);
    let detail = format!("A query parameter is not valid: {reason}.");
    Error::invalid("invalid_query", detail).with_source(rejection)
}

/// The id in a path. An id that is not a number does not exist, so it is answered with 404.
pub struct PathId(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<i64>::from_request_parts(parts, state).await;
        let Path(id) = id.map_err(|_| {
            Error::new(
                ErrorKind::NotFound,
                "not_found",
                "There is nothing with this id.",
            )
        })?;
        Ok(Self(id))
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The `Idempotency-Key` header, if there is one. The service stores the answer under it.
pub struct IdempotencyKey(pub Option<String>);

impl IntoParams for IdempotencyKey {
    fn into_params(_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(talktime_kit::idempotency::KEY_LENGTH_MAX));
        let parameter = ParameterBuilder::new()
            .name(IDEMPOTENCY_KEY.as_str())
            .parameter_in(ParameterIn::Header)
            .description(Some(
                "Chosen by the client, a new one for each intent. A repeated request with the same key and body receives \
                 the first answer.",
            ))
            .schema(Some(key));
        vec![parameter.build()]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        if is_repeated(&parts.headers, &IDEMPOTENCY_KEY) {
            return Err(invalid_idempotency_key("There must be only one Idempotency-Key.").into());
        }
        let key = value.to_str();
        let key =
            key.map_err(|_| invalid_idempotency_key("The Idempotency-Key must be visible ASCII."))?;
        Ok(Self(Some(key.to_owned())))
    }
}

fn invalid_idempotency_key(detail: &'static str) -> Error {
    Error::invalid("invalid_idempotency_key", detail)
}

/// The `User-Agent` header. Empty if it is missing or not text.
pub struct UserAgent(pub String);

impl<S: Send + Sync> FromRequestParts<S> for UserAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let value = parts.headers.get(USER_AGENT);
        let text = value.and_then(|value| value.to_str().ok());
        Ok(Self(text.unwrap_or_default().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_a_value_are_ignored() {
        for (query, expected) in [
            ("", ""),
            ("page=&per_page=", ""),
            ("page&per_page=5&&", "per_page=5"),
            ("sex=female&language=&page=2", "sex=female&page=2"),
            ("interests=%20&a==", "interests=%20&a=="),
        ] {
            let uri = without_empty_values(query).expect("an address");
            assert_eq!(uri.query(), Some(expected), "{query:?}");
        }
    }
}
