//! Kinds of errors, and their names in gRPC and HTTP.

use tonic::Code;

/// The kind of an error, as far as the next step of the caller depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// A value is not allowed.
    InvalidArgument,
    /// The body is not JSON, lacks a field or has a field of a wrong type.
    Unprocessable,
    /// The request has no valid token.
    Unauthenticated,
    /// A payment is missing or not verified.
    PaymentRequired,
    /// The token is valid, but lacks the right.
    PermissionDenied,
    /// The requested resource does not exist.
    NotFound,
    /// The path exists, but does not take this HTTP method.
    MethodNotAllowed,
    /// The resource is in another state than the request needs.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body has a media type that is not supported.
    UnsupportedMediaType,
    /// The address of the request is too long.
    UriTooLong,
    /// The headers are too large.
    HeadersTooLarge,
    /// The caller sent too many requests; see [`Error::retry_after`](crate::Error::retry_after).
    RateLimited,
    /// A dependency is down. The outcome is unknown; the caller should repeat the request with the same id.
    Unavailable,
    /// The deadline passed; the outcome is unknown as well.
    DeadlineExceeded,
    /// A bug on our side.
    Internal,
}

impl ErrorKind {
    /// The name between services, the gRPC code, the HTTP status and the title of each kind.
    pub(crate) const TABLE: &'static [(ErrorKind, &'static str, Code, u16, &'static str)] = &[
        (
            ErrorKind::InvalidArgument,
            "invalid_argument",
            Code::InvalidArgument,
            400,
            "Bad Request",
        ),
        (
            ErrorKind::Unprocessable,
            "unprocessable",
            Code::InvalidArgument,
            422,
            "Unprocessable Content",
        ),
        (
            ErrorKind::Unauthenticated,
            "unauthenticated",
            Code::Unauthenticated,
            401,
            "Unauthorized",
        ),
        (
            ErrorKind::PaymentRequired,
            "payment_required",
            Code::FailedPrecondition,
            402,
            "Payment Required",
        ),
        (
            ErrorKind::PermissionDenied,
            "permission_denied",
            Code::PermissionDenied,
            403,
            "Forbidden",
        ),
        (
            ErrorKind::NotFound,
            "not_found",
            Code::NotFound,
            404,
            "Not Found",
        ),
        (
            ErrorKind::MethodNotAllowed,
            "method_not_allowed",
            Code::Unimplemented,
            405,
            "Method Not Allowed",
        ),
        (
            ErrorKind::Conflict,
            "conflict",
            Code::Aborted,
            409,
            "Conflict",
        ),
        (
            ErrorKind::TooLarge,
            "too_large",
            Code::OutOfRange,
            413,
            "Content Too Large",
        ),
        (
            ErrorKind::UnsupportedMediaType,
            "unsupported_media_type",
            Code::InvalidArgument,
            415,
            "Unsupported Media Type",
        ),
        (
            ErrorKind::UriTooLong,
            "uri_too_long",
            Code::OutOfRange,
            414,
            "URI Too Long",
        ),
        (
            ErrorKind::HeadersTooLarge,
            "headers_too_large",
            Code::OutOfRange,
            431,
            "Request Header Fields Too Large",
        ),
        (
            ErrorKind::RateLimited,
            "rate_limited",
            Code::ResourceExhausted,
            429,
            "Too Many Requests",
        ),
        (
            ErrorKind::Unavailable,
            "unavailable",
            Code::Unavailable,
            503,
            "Service Unavailable",
        ),
        (
            ErrorKind::DeadlineExceeded,
            "deadline_exceeded",
            Code::DeadlineExceeded,
            503,
            "Service Unavailable",
        ),
        (
            ErrorKind::Internal,
            "internal",
            Code::Internal,
            500,
            "Internal Server Error",
        ),
    ];

    fn row(self) -> &'static (ErrorKind, &'static str, Code, u16, &'static str) {
        Self::TABLE
            .iter()
            .find(|row| row.0 == self)
            .expect("the table has a row for every kind; a test walks them")
    }

    /// Returns the gRPC code.
    pub fn grpc(self) -> Code {
        self.row().2
    }

    /// Returns the HTTP status.
    pub fn http(self) -> u16 {
        self.row().3
    }

    /// Returns the title of the problem document.
    pub fn title(self) -> &'static str {
        self.row().4
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|row| row.1 == name)
            .map(|row| row.0)
    }
}
