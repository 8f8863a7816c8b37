//! Message numbers (`seq`).
//!
//! The number of a message is the position of its event in the stream of events, shifted left. The lowest bits
//! count the messages that are sent between two events, such as heartbeats, which are not in the stream.
//! JavaScript represents integers of up to 53 bits exactly, which is enough for 2^38 events.

const OUT_OF_BAND_BITS: u32 = 15;
const OUT_OF_BAND_MASK: u64 = (1 << OUT_OF_BAND_BITS) - 1;

/// Returns the number of the message about the event at this position of the stream.
pub(super) fn seq_of_event(stream_seq: u64) -> u64 {
    stream_seq << OUT_OF_BAND_BITS
}

/// Returns the number of the latest event at or before a message. The numbers between two events differ from
/// replica to replica; those of events do not.
pub(super) fn latest_event_seq(seq: u64) -> u64 {
    seq & !OUT_OF_BAND_MASK
}

/// Returns the number after `seq` for a message that is not in the stream, or `None` when all numbers until the
/// next event are used.
pub(super) fn next_out_of_band_seq(seq: u64) -> Option<u64> {
    (seq & OUT_OF_BAND_MASK != OUT_OF_BAND_MASK).then_some(seq + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_band_numbers_lie_between_two_events() {
        let mut seq = seq_of_event(7);
        let mut count = 0_u64;
        while let Some(next) = next_out_of_band_seq(seq) {
            assert!(next < seq_of_event(8));
            assert_eq!(latest_event_seq(next), seq_of_event(7));
            seq = next;
            count += 1;
        }
        assert_eq!(count, OUT_OF_BAND_MASK);
    }
}
