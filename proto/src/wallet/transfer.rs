//! Ids of transfers that more than the wallet names.

/// The id under which the wallet charges one minute of a call; minutes count from 1.
pub fn charge_id(call_id: i64, minute: i32) -> String {
    format!("call/{call_id}/minute/{minute}")
}
