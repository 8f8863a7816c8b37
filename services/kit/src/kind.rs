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

/// The names of a kind.
pub(crate) struct ErrorKindNames {
    pub(crate) kind: ErrorKind,
    /// The name between services.
    name: &'static str,
    grpc: Code,
    /// The HTTP status.
    http: u16,
    title: &'static str,
}

impl ErrorKind {
    pub(crate) const TABLE: &'static [ErrorKindNames] = &[
        ErrorKindNames {
            kind: ErrorKind::InvalidArgument,
            name: "invalid_argument",
            grpc: Code::InvalidArgument,
            http: 400,
            title: "Bad Request",
        },
        ErrorKindNames {
            kind: ErrorKind::Unprocessable,
            name: "unprocessable",
            grpc: Code::InvalidArgument,
            http: 422,
            title: "Unprocessable Content",
        },
        ErrorKindNames {
            kind: ErrorKind::Unauthenticated,
            name: "unauthenticated",
            grpc: Code::Unauthenticated,
            http: 401,
            title: "Unauthorized",
        },
        ErrorKindNames {
            kind: ErrorKind::PaymentRequired,
            name: "payment_required",
            grpc: Code::FailedPrecondition,
            http: 402,
            title: "Payment Required",
        },
        ErrorKindNames {
            kind: ErrorKind::PermissionDenied,
            name: "permission_denied",
            grpc: Code::PermissionDenied,
            http: 403,
            title: "Forbidden",
        },
        ErrorKindNames {
            kind: ErrorKind::NotFound,
            name: "not_found",
            grpc: Code::NotFound,
            http: 404,
            title: "Not Found",
        },
        ErrorKindNames {
            kind: ErrorKind::MethodNotAllowed,
            name: "method_not_allowed",
            grpc: Code::Unimplemented,
            http: 405,
            title: "Method Not Allowed",
        },
        ErrorKindNames {
            kind: ErrorKind::Conflict,
            name: "conflict",
            grpc: Code::Aborted,
            http: 409,
            title: "Conflict",
        },
        ErrorKindNames {
            kind: ErrorKind::TooLarge,
            name: "too_large",
            grpc: Code::OutOfRange,
            http: 413,
            title: "Content Too Large",
        },
        ErrorKindNames {
            kind: ErrorKind::UnsupportedMediaType,
            name: "unsupported_media_type",
            grpc: Code::InvalidArgument,
            http: 415,
            title: "Unsupported Media Type",
        },
        ErrorKindNames {
            kind: ErrorKind::UriTooLong,
            name: "uri_too_long",
            grpc: Code::OutOfRange,
            http: 414,
            title: "URI Too Long",
        },
        ErrorKindNames {
            kind: ErrorKind::HeadersTooLarge,
            name: "headers_too_large",
            grpc: Code::OutOfRange,
            http: 431,
            title: "Request Header Fields Too Large",
        },
        ErrorKindNames {
            kind: ErrorKind::RateLimited,
            name: "rate_limited",
            grpc: Code::ResourceExhausted,
            http: 429,
            title: "Too Many Requests",
        },
        ErrorKindNames {
            kind: ErrorKind::Unavailable,
            name: "unavailable",
            grpc: Code::Unavailable,
            http: 503,
            title: "Service Unavailable",
        },
        ErrorKindNames {
            kind: ErrorKind::DeadlineExceeded,
            name: "deadline_exceeded",
            grpc: Code::DeadlineExceeded,
            http: 503,
            title: "Service Unavailable",
        },
        ErrorKindNames {
            kind: ErrorKind::Internal,
            name: "internal",
            grpc: Code::Internal,
            http: 500,
            title: "Internal Server Error",
        },
    ];

    fn names(self) -> &'static ErrorKindNames {
        Self::TABLE
            .iter()
            .find(|names| names.kind == self)
            .expect("the table has a row for every kind; a test walks them")
    }

    /// Returns the gRPC code.
    pub fn grpc(self) -> Code {
        self.names().grpc
    }

    /// Returns the HTTP status.
    pub fn http(self) -> u16 {
        self.names().http
    }

    /// Returns the title of the problem document.
    pub fn title(self) -> &'static str {
        self.names().title
    }

    pub(crate) fn name(self) -> &'static str {
        self.names().name
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|names| names.name == name)
            .map(|names| names.kind)
    }
}
