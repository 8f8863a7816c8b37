//! Error answers: problem documents (RFC 9457; contract, section 1).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use talktime_kit::error::FieldError;
use talktime_kit::{Error, ErrorKind};
use tonic::Status;
use utoipa::ToSchema;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The result of a handler.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// An error that a handler returns. It leaves the handler as an empty response with this value as an extension, and
/// [`crate::middleware`], which knows the id of the request, turns it into a document.
#[derive(Clone, Debug)]
pub struct Problem(Arc<Error>);

impl Problem {
    /// Returns the error that caused the problem.
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// Builds the answer to the request `request_id`.
    pub fn to_document(&self, request_id: &str) -> Response {
        let error = self.error();
        let body = Json(ProblemDocument {
            r#type: "about:blank",
            title: error.kind().title(),
            status: error.kind().http(),
            detail: error.detail(),
            code: error.code(),
            request_id,
            errors: (error.kind() == ErrorKind::Unprocessable).then(|| error.fields()),
            members: error.members(),
        });
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        if let Some(after) = error.retry_after() {
            // Rounded up, so that a client that waits exactly this long is not too early.
            let secs = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        if error.kind() == ErrorKind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.error().kind().http()).expect("the table of kinds holds statuses")
    }
}

/// An error, as a problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument<'a> {
    #[schema(example = "about:blank")]
    r#type: &'static str,
    #[schema(example = "Conflict")]
    title: &'static str,
    #[schema(example = 409)]
    status: u16,
    /// A sentence that an app may show to its user.
    #[schema(example = "This user name is taken.")]
    detail: &'a str,
    /// A stable code for programs.
    #[schema(pattern = "^[a-z0-9_]+$", example = "username_taken")]
    code: &'a str,
    /// The id of the request, for questions to the operator. The header `x-request-id` has it too.
    #[schema(example = "0197a2c4-8e1b-7c3d-9f00-000000000000")]
    request_id: &'a str,
    /// Each invalid field. Only a 422 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<FieldProblem>>)]
    errors: Option<&'a [FieldError]>,
    /// Further members of some codes; the description of the refusal names them.
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a BTreeMap<String, serde_json::Value>,
}

/// An invalid field of a request body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the kit's own FieldError")]
pub(crate) struct FieldProblem {
    #[schema(example = "payout_account.ifsc_code")]
    field: String,
    /// The end of a sentence that begins with the field.
    #[schema(example = "is missing")]
    message: String,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

/// Converts the answer of a service, or the failure to receive one.
impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        Error::from(status).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    async fn body_of(response: Response) -> Value {
        let bytes = response.into_body().collect().await.expect("in memory");
        serde_json::from_slice(&bytes.to_bytes()).expect("JSON")
    }

    #[tokio::test]
    async fn a_document_has_every_member_of_the_contract() {
        let error = Error::new(
            ErrorKind::Unprocessable,
            "invalid_body",
            "The body is not as it should be.",
        )
        .with_fields(vec![FieldError {
            field: "phone".to_owned(),
            message: "is missing".to_owned(),
        }]);
        let response = Problem::from(error).to_document("r-1");
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body_of(response).await,
            json!({
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "The body is not as it should be.",
                "code": "invalid_body",
                "request_id": "r-1",
                "errors": [{"field": "phone", "message": "is missing"}],
            })
        );
    }

    #[tokio::test]
    async fn only_a_422_lists_fields() {
        let response = Problem::from(Error::invalid("bad_page", "No.")).to_document("r-2");
        assert_eq!(body_of(response).await.get("errors"), None);
    }

    #[test]
    fn retry_times_are_rounded_up() {
        let error = Error::new(ErrorKind::RateLimited, "too_many", "Slow down.")
            .with_retry_after(Duration::from_millis(1_200));
        let response = Problem::from(error).to_document("r-3");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn a_401_names_the_authentication_scheme() {
        let error = Error::new(ErrorKind::Unauthenticated, "missing_token", "Log in first.");
        let response = Problem::from(error).to_document("r-4");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
