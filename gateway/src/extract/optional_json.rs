//! JSON bodies that may be left out.

use axum::extract::{FromRequest, Request};
use eserde::EDeserialize;

use super::json;
use crate::problem::Problem;

/// A JSON object as request body; a request without a body counts as one with an empty object.
pub struct OptionalJson<T>(pub T);

impl<T, S> FromRequest<S> for OptionalJson<T>
where
    T: for<'de> EDeserialize<'de>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = json::read_body(body).await?;
        if body.is_empty() {
            return Ok(Self(json::parse(b"{}")?));
        }
        if !json::is_json(&parts.headers) {
            return Err(json::unsupported_media_type().into());
        }
        Ok(Self(json::parse(&body)?))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[derive(Debug, eserde::Deserialize)]
    struct ReasonFields {
        #[serde(default)]
        reason: Option<String>,
    }

    async fn read(content_type: &str, body: &'static str) -> Result<Option<String>, u16> {
        let request = Request::post("/")
            .header("content-type", content_type)
            .body(Body::from(body))
            .expect("a request");
        let fields = OptionalJson::<ReasonFields>::from_request(request, &()).await;
        fields
            .map(|OptionalJson(fields)| fields.reason)
            .map_err(|problem| problem.error().kind().http())
    }

    #[tokio::test]
    async fn a_body_may_be_left_out_and_is_checked_if_it_is_there() {
        assert_eq!(read("text/plain", "").await, Ok(None));
        assert_eq!(read("application/json", "{}").await, Ok(None));
        let busy = r#"{"reason": "busy"}"#;
        let reason = read("application/json", busy).await;
        assert_eq!(reason, Ok(Some("busy".to_owned())));
        assert_eq!(read("text/plain", busy).await, Err(415));
        assert_eq!(read("application/json", r#"{"reason": 1}"#).await, Err(422));
        assert_eq!(read("application/json", "[]").await, Err(422));
    }
}
