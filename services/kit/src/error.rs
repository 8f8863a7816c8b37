//! The error type of all services, and the mapping of its kinds to gRPC and HTTP.
//!
//! Each service has an error enum of its own and converts it into this type. A gRPC status carries the whole
//! error to the caller (code, detail, fields), and the gateway converts it into a problem document.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use crate::kind::ErrorKind;

/// Distinguishes our error details from those that any gRPC peer may send.
const ERROR_DOMAIN: &str = "talktime";
const KIND_KEY: &str = "kind";
/// Begins the key of each member in our error details; the value is JSON.
const MEMBER_PREFIX: &str = "member.";
/// The code of an error that the transport reports, not the peer.
pub(crate) const UNREACHABLE: &str = "service_unavailable";

/// A wrong field of a request.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct FieldError {
    /// Path of the field, such as `payout_account.ifsc_code`.
    pub field: String,
    /// The reason, as a sentence for the user.
    pub message: String,
}

/// An error with a kind and a stable code for programs, a sentence for users, and its source for the log.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// Boxed, since few errors have any, and a large error makes every result large.
    extras: Option<Box<ErrorExtras>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Parts that few errors have.
#[derive(Debug, Default)]
struct ErrorExtras {
    fields: Vec<FieldError>,
    members: BTreeMap<String, serde_json::Value>,
}

static NO_MEMBERS: BTreeMap<String, serde_json::Value> = BTreeMap::new();

/// How long a caller should wait when a dependency is down.
const RETRY_AFTER_UNAVAILABLE: Duration = Duration::from_secs(1);

impl Error {
    /// Returns an error with a stable `snake_case` `code` and a sentence for the user.
    pub fn new(
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let retry_after = matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
            .then_some(RETRY_AFTER_UNAVAILABLE);
        Self {
            kind,
            code: code.into(),
            detail: detail.into(),
            retry_after,
            extras: None,
            source: None,
        }
    }

    /// Returns an error for a value that is not allowed.
    pub fn invalid(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, code, detail)
    }

    /// Returns the error of a bug. Its detail for the caller does not reveal the cause.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(
            ErrorKind::Internal,
            "internal",
            "Something went wrong on our side.",
        )
        .with_source(source)
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the wrong fields.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        if !fields.is_empty() {
            self.extras_mut().fields = fields;
        }
        self
    }

    /// Sets the time after which the caller should retry.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a fact that programs need beside the code, such as the id of the call that is in the way. The
    /// gateway adds it to the problem document under this name (RFC 9457, extension members).
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        let members = &mut self.extras_mut().members;
        members.insert(name.to_owned(), value.into());
        self
    }

    /// Returns a copy of an error that several callers get. The shared error becomes its source.
    pub fn of_shared(shared: std::sync::Arc<Self>) -> Self {
        Self::new(shared.kind, shared.code.clone(), shared.detail.clone())
            .with_members(shared.members().clone())
            .with_source(shared)
    }

    fn with_members(mut self, members: BTreeMap<String, serde_json::Value>) -> Self {
        if !members.is_empty() {
            self.extras_mut().members = members;
        }
        self
    }

    fn extras_mut(&mut self) -> &mut ErrorExtras {
        self.extras.get_or_insert_default()
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the stable `snake_case` code for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the sentence for the user.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the wrong fields.
    pub fn fields(&self) -> &[FieldError] {
        let extras = self.extras.as_ref();
        extras.map_or(&[], |extras| &extras.fields)
    }

    /// Returns the time after which the caller should retry.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the facts beside the code, by name.
    pub fn members(&self) -> &BTreeMap<String, serde_json::Value> {
        let extras = self.extras.as_ref();
        extras.map_or(&NO_MEMBERS, |extras| &extras.members)
    }

    /// Returns whether the peer could not be reached, so that other calls to it would fail as well.
    pub fn is_unreachable(&self) -> bool {
        self.kind == ErrorKind::Unavailable && self.code == UNREACHABLE
    }

    /// Returns whether the operation may have happened in spite of the error. Only the same request with the
    /// same id finds out. Every other kind means that it did not happen.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Internal
        )
    }
}

/// Does not include the source; the log adds it with [`chain`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Returns an error and its causes in one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut metadata = HashMap::from([(KIND_KEY.to_owned(), error.kind.name().to_owned())]);
        let members = error.members().iter();
        metadata.extend(
            members.map(|(name, value)| (format!("{MEMBER_PREFIX}{name}"), value.to_string())),
        );
        let mut details = ErrorDetails::new();
        details.set_error_info(error.code(), ERROR_DOMAIN, metadata);
        for field in error.fields() {
            details.add_bad_request_violation(&field.field, &field.message);
        }
        if let Some(after) = error.retry_after {
            details.set_retry_info(Some(after));
        }
        let mut status =
            Status::with_error_details(error.kind.grpc(), error.detail.clone(), details);
        status.set_source(std::sync::Arc::new(error));
        status
    }
}

/// Converts the answer of a peer. A status without our details comes from the transport and not from the peer,
/// so the outcome is unknown. (tonic reports an expired deadline as `Cancelled`.)
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details
            .error_info()
            .filter(|info| info.domain == ERROR_DOMAIN);
        let known = info.and_then(|info| {
            let kind = ErrorKind::from_name(info.metadata.get(KIND_KEY)?)?;
            Some((kind, info.reason.clone(), read_members(&info.metadata)))
        });
        let Some((kind, code, members)) = known else {
            return Self::from_transport(status);
        };
        let fields = details
            .bad_request()
            .map(|bad| bad.field_violations.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|violation| FieldError {
                field: violation.field.clone(),
                message: violation.description.clone(),
            })
            .collect();
        let retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
        Self {
            retry_after,
            ..Self::new(kind, code, status.message().to_owned())
        }
        .with_members(members)
        .with_fields(fields)
        .with_source(status)
    }
}

/// Returns the members among the error details of a peer; what is no JSON is left out.
fn read_members(metadata: &HashMap<String, String>) -> BTreeMap<String, serde_json::Value> {
    let members = metadata.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(MEMBER_PREFIX)?;
        Some((name.to_owned(), serde_json::from_str(value).ok()?))
    });
    members.collect()
}

impl Error {
    fn from_transport(status: Status) -> Self {
        let kind = match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => ErrorKind::DeadlineExceeded,
            Code::Unimplemented => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, UNREACHABLE, "Please try again in a moment.").with_source(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for names in ErrorKind::TABLE {
            let kind = names.kind;
            let sent = Error::new(kind, "some_code", "A sentence.")
                .with_retry_after(Duration::from_secs(7))
                .with_member("call_id", 7)
                .with_member("outcome", "missed")
                .with_fields(vec![FieldError {
                    field: "phone".into(),
                    message: "is missing".into(),
                }]);
            let received = Error::from(Status::from(sent));
            assert_eq!(received.kind(), kind);
            assert_eq!(received.code(), "some_code");
            assert_eq!(received.detail(), "A sentence.");
            assert_eq!(received.retry_after(), Some(Duration::from_secs(7)));
            assert_eq!(received.fields()[0].field, "phone");
            assert_eq!(received.members()["call_id"], 7);
            assert_eq!(received.members()["outcome"], "missed");
        }
    }

    #[test]
    fn a_transport_failure_is_an_unknown_outcome() {
        for status in [
            Status::unavailable("connection refused"),
            Status::unknown("h2 protocol error"),
            Status::cancelled("Timeout expired"),
        ] {
            assert!(Error::from(status).is_outcome_unknown());
        }
    }

    #[test]
    fn a_refusal_is_a_known_outcome() {
        let refused = Status::from(Error::invalid("bad", "No."));
        assert!(!Error::from(refused).is_outcome_unknown());
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        let error = Error::internal(std::io::Error::other("disk on fire"));
        assert!(!error.to_string().contains("disk"));
        assert!(chain(&error).ends_with("disk on fire"));
    }
}
