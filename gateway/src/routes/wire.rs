//! Parts of answers that several endpoints share.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is only a sentence.
#[derive(Serialize, ToSchema)]
pub(super) struct Message {
    message: &'static str,
}

impl Message {
    pub(super) const fn new(message: &'static str) -> Self {
        Self { message }
    }
}

/// Converts a time for JSON, where chrono writes it as RFC 3339 in UTC with `Z`.
pub(super) fn time(timestamp: Option<Timestamp>) -> Option<DateTime<Utc>> {
    talktime_proto::datetime(timestamp.as_ref())
}
