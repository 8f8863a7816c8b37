//! Between protobuf's timestamps and chrono's.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// A protobuf timestamp of an instant.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// The instant of a protobuf timestamp; `None` when absent or out of range.
pub fn datetime(timestamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let timestamp = timestamp?;
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}
