//! The confirmation of a device, over its socket, that it rings.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::grpc::with_deadline;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::calls::v1::AcknowledgeRingRequest;
use talktime_proto::datetime;
use utoipa::ToSchema;

use super::message::ErrorMessage;
use crate::clients::CallsClient;
use crate::openapi::values;

/// The session sends nothing else while it waits for calls.
const TIMEOUT: Duration = Duration::from_secs(1);

const NOT_RUNG_FOR: ErrorMessage<'static> = ErrorMessage {
    code: "CALL_REFUSED",
    message: "No such call rings for this user.",
};
const NOT_CONFIRMED: ErrorMessage<'static> = ErrorMessage {
    code: "TRY_AGAIN",
    message: "The confirmation could not be stored. Send it again.",
};

/// The `data` of `ringing`.
#[derive(Deserialize, ToSchema)]
pub(super) struct RingConfirmation {
    pub(super) call_id: i64,
}

/// The answer to `ringing`.
#[derive(Serialize, ToSchema)]
pub(super) struct RingResponse {
    call_id: i64,
    /// Whether the device may go on ringing.
    is_ringing: bool,
    /// When it is to stop by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ring_expires_at: Option<DateTime<Utc>>,
    /// How the ring has ended without a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::RingOutcome, required = false)]
    outcome: Option<String>,
    /// How the call stands that another device has accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CallStateStatus, required = false)]
    status: Option<String>,
}

/// Reports to calls that a device of the listener rings.
pub(super) async fn acknowledge_ring(
    calls: &CallsClient,
    user_id: i64,
    call_id: i64,
) -> Result<RingResponse, ErrorMessage<'static>> {
    let request = AcknowledgeRingRequest { call_id, user_id };
    let acknowledging = retry_idempotent(calls, CallsClient::acknowledge_ring, request);
    match with_deadline(Instant::now() + TIMEOUT, acknowledging).await {
        Ok(acknowledged) => Ok(RingResponse {
            call_id,
            is_ringing: true,
            ring_expires_at: datetime(acknowledged.ring_expires_at.as_ref()),
            outcome: None,
            status: None,
        }),
        Err(error) if error.code() == "ring_over" => Ok(RingResponse {
            call_id,
            is_ringing: false,
            ring_expires_at: None,
            outcome: text_member(&error, "outcome"),
            status: text_member(&error, "call_status"),
        }),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::NotFound
            ) =>
        {
            Err(NOT_RUNG_FOR)
        }
        Err(_) => Err(NOT_CONFIRMED),
    }
}

fn text_member(error: &Error, name: &str) -> Option<String> {
    let value = error.members().get(name)?.as_str()?;
    Some(value.to_owned())
}
