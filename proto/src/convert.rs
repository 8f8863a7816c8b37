//! Between protobuf's timestamps and chrono's.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// Converts an instant to a protobuf timestamp.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// Converts a protobuf timestamp to an instant; `None` if it is absent or out of range.
pub fn datetime(timestamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let timestamp = timestamp?;
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}
