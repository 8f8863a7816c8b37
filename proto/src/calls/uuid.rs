//! The id of a call as a UUID, which the call interfaces of phones (CallKit, Telecom) require.

use uuid::{Builder, Uuid};

/// First half of every such UUID; the second half is the id of the call.
const PREFIX: u64 = 0x7461_6c6b_7469_6d65;

/// Returns the UUID of a call, the same on every device and in every service. It has version 8 (RFC 9562), whose
/// layout belongs to the application, so it needs no hash. Ids below 2^62 have different UUIDs.
pub fn call_uuid(call_id: i64) -> Uuid {
    let id = u64::from_be_bytes(call_id.to_be_bytes());
    let bytes = Uuid::from_u64_pair(PREFIX, id).into_bytes();
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_one_uuid_of_version_8() {
        let uuid = call_uuid(7);
        assert_eq!(uuid.to_string(), "74616c6b-7469-8d65-8000-000000000007");
        assert_eq!(uuid, call_uuid(7));
        assert_ne!(uuid, call_uuid(8));
    }
}
