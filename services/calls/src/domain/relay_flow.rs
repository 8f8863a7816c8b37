//! Derives from the counters of the relays when media began to flow.

use chrono::{DateTime, Utc};

use super::relay::SeatRole;

/// Packets of the listener that must have reached the caller: six seconds of sound.
const FLOW_PACKETS_MIN: i64 = 300;

/// Totals of the allocations of one side of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SideTraffic {
    /// When the first allocation of the side began.
    pub began_at: DateTime<Utc>,
    /// From the app to the relay.
    pub in_packets: i64,
    /// From the relay to the app.
    pub out_packets: i64,
}

impl SideTraffic {
    /// Returns the sum of two allocations of a side. An app opens several, and one carries the media.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            began_at: self.began_at.min(other.began_at),
            in_packets: self.in_packets.saturating_add(other.in_packets),
            out_packets: self.out_packets.saturating_add(other.out_packets),
        }
    }
}

/// Traffic of both sides of a call, as far as the relays have reported it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CallTraffic {
    pub caller: Option<SideTraffic>,
    pub listener: Option<SideTraffic>,
}

impl CallTraffic {
    /// Returns the traffic with another allocation.
    #[must_use]
    pub fn with_allocation(mut self, role: SeatRole, allocation: SideTraffic) -> Self {
        let side = match role {
            SeatRole::Caller => &mut self.caller,
            SeatRole::Listener => &mut self.listener,
        };
        *side = Some(side.map_or(allocation, |sum| sum.plus(allocation)));
        self
    }

    /// Returns when the media began to flow, if enough packets of the listener have reached the caller: when the
    /// later side had its first allocation. What is paid for is what reaches the caller, so it does not matter
    /// whether the caller sends anything, or what the apps say.
    pub fn flows_since(&self) -> Option<DateTime<Utc>> {
        let (caller, listener) = (self.caller?, self.listener?);
        let delivered = listener.in_packets.min(caller.out_packets);
        (delivered >= FLOW_PACKETS_MIN).then(|| caller.began_at.max(listener.began_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(began_secs: i64, in_packets: i64, out_packets: i64) -> SideTraffic {
        SideTraffic {
            began_at: DateTime::from_timestamp(1_800_000_000 + began_secs, 0).expect("valid"),
            in_packets,
            out_packets,
        }
    }

    fn flows_since(caller: &[SideTraffic], listener: &[SideTraffic]) -> Option<i64> {
        let mut traffic = CallTraffic::default();
        for allocation in caller {
            traffic = traffic.with_allocation(SeatRole::Caller, *allocation);
        }
        for allocation in listener {
            traffic = traffic.with_allocation(SeatRole::Listener, *allocation);
        }
        let since = traffic.flows_since()?;
        Some(since.timestamp() - 1_800_000_000)
    }

    #[test]
    fn media_flows_since_the_later_side_had_an_allocation() {
        assert_eq!(flows_since(&[side(3, 0, 300)], &[side(1, 300, 0)]), Some(3));
        assert_eq!(flows_since(&[side(1, 0, 300)], &[side(4, 300, 0)]), Some(4));
    }

    #[test]
    fn media_does_not_flow_before_enough_has_reached_the_caller() {
        assert_eq!(
            flows_since(&[side(0, 900, 299)], &[side(0, 900, 900)]),
            None
        );
        assert_eq!(
            flows_since(&[side(0, 900, 900)], &[side(0, 299, 900)]),
            None
        );
        assert_eq!(flows_since(&[side(0, 900, 900)], &[]), None);
        assert_eq!(flows_since(&[], &[side(0, 900, 900)]), None);
    }

    #[test]
    fn the_allocations_of_a_side_are_summed() {
        let caller = [side(5, 0, 150), side(2, 0, 150)];
        assert_eq!(flows_since(&caller, &[side(1, 300, 0)]), Some(2));
    }
}
