//! The fields of a DELETE request: a JSON body, or query parameters, because some proxies drop the bodies of such
//! requests (contract, section 1).

use axum::extract::{FromRequest, FromRequestParts, Request};
use eserde::EDeserialize;
use serde::de::DeserializeOwned;

use super::{Query, json};
use crate::problem::Problem;

/// The fields of a JSON body or, without a body, of the query.
pub struct BodyOrQuery<T>(pub T);

impl<T, S> FromRequest<S> for BodyOrQuery<T>
where
    T: for<'de> EDeserialize<'de> + DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let body = json::read_body(body).await?;
        if !body.is_empty() {
            if !json::is_json(&parts.headers) {
                return Err(json::unsupported_media_type().into());
            }
            return Ok(Self(json::parse(&body)?));
        }
        if parts.uri.query().is_none_or(str::is_empty) {
            // Fails with the fields that are missing.
            return Ok(Self(json::parse(b"{}")?));
        }
        let Query(fields) = Query::from_request_parts(&mut parts, state).await?;
        Ok(Self(fields))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[derive(Debug, eserde::Deserialize)]
    struct ListenerFields {
        listener_id: i64,
    }

    async fn read(uri: &str, body: &'static str) -> Result<i64, u16> {
        let request = Request::delete(uri)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .expect("a request");
        let fields = BodyOrQuery::<ListenerFields>::from_request(request, &()).await;
        fields
            .map(|BodyOrQuery(fields)| fields.listener_id)
            .map_err(|problem| problem.error().kind().http())
    }

    #[tokio::test]
    async fn the_body_takes_precedence_over_the_query() {
        assert_eq!(read("/", r#"{"listener_id": 7}"#).await, Ok(7));
        assert_eq!(read("/?listener_id=8", "").await, Ok(8));
        assert_eq!(
            read("/?listener_id=8", r#"{"listener_id": 7}"#).await,
            Ok(7)
        );
    }

    #[tokio::test]
    async fn missing_and_invalid_fields_are_refused() {
        assert_eq!(read("/", "").await, Err(422));
        assert_eq!(read("/", "{}").await, Err(422));
        assert_eq!(read("/", r#"{"listener_id": "7"}"#).await, Err(422));
        assert_eq!(read("/?listener_id=seven", "").await, Err(400));
    }
}
