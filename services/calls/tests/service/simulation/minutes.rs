//! Sound of the minutes of calls that the platform carries: what is known of it when a replica settles a call differs
//! each time, but the first decision holds.

use talktime_calls::domain::call::{Call, CallMedia};
use talktime_calls::domain::evidence::{
    MinuteEvidence, MinuteReturns, MinuteVerdict, SideMinute, judge_minute,
};

use super::world::SimulatedWorld;
use crate::model::MINUTE_SECS;

impl SimulatedWorld {
    /// Models the decision about minutes, in the transaction that decides how many count.
    pub(super) fn judge_minutes(&self, call: &Call, minutes: i32) {
        if call.media != CallMedia::Platform {
            return;
        }
        let mut verdicts = self.verdicts.borrow_mut();
        for minute in 1..=minutes {
            let verdict = judge_minute(minute, &self.any_evidence());
            verdicts.entry((call.call_id, minute)).or_insert(verdict);
        }
    }

    /// Minutes of a call that go back to the caller, as decided.
    pub(super) fn minute_returns(&self, call_id: i64) -> MinuteReturns {
        let verdicts = self.verdicts.borrow();
        let of_call = verdicts.range((call_id, 0)..(call_id + 1, 0));
        let verdicts: Vec<MinuteVerdict> = of_call.map(|(_, verdict)| *verdict).collect();
        MinuteReturns::of_verdicts(&verdicts)
    }

    fn any_evidence(&self) -> MinuteEvidence {
        let secs = f64::from(MINUTE_SECS);
        let packets_max = i64::from(MINUTE_SECS) * 50;
        let any_count = || match self.runtime.between(0..3) {
            0 => 0,
            1 => packets_max,
            _ => self.runtime.between(0..packets_max),
        };
        let any_side = || SideMinute {
            relay_in_packets: (!self.runtime.one_in(3)).then(any_count),
            relay_out_packets: (!self.runtime.one_in(3)).then(any_count),
            relay_secs: if self.runtime.one_in(3) { 0.0 } else { secs },
            client_tx_packets: any_count(),
            client_rx_packets: any_count(),
            client_secs: if self.runtime.one_in(3) { 0.0 } else { secs },
        };
        MinuteEvidence {
            secs,
            minute_secs: secs,
            caller: any_side(),
            listener: any_side(),
            is_relay_lost: self.runtime.one_in(4),
        }
    }
}
