//! Messages that coturn publishes in its Redis about each allocation.
//!
//! The channel is `turn/realm/<realm>/user/<username>/allocation/<session id>/<kind>`. `traffic` carries the
//! packets since the message before, every 2,048 packets and at the end; `total_traffic` carries all of them,
//! once, after the status `deleted`.

use crate::domain::relay::{RelayTraffic, RelayUsername};

use super::session_key::SessionKey;

/// Pattern of the channels of a realm.
pub(super) fn channel_pattern(realm: &str) -> String {
    format!("turn/realm/{realm}/user/*")
}

/// A message about an allocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct StatisticsEvent {
    pub(super) key: SessionKey,
    pub(super) kind: StatisticsKind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StatisticsKind {
    Began,
    /// Traffic since the message before.
    Interval(RelayTraffic),
    /// All traffic; the allocation has ended.
    Total(RelayTraffic),
}

/// Parses a message. Messages of other kinds, and those whose user name belongs to no call, return
/// `None`.
pub(super) fn parse_message(realm: &str, channel: &str, payload: &str) -> Option<StatisticsEvent> {
    let rest = channel.strip_prefix("turn/realm/")?.strip_prefix(realm)?;
    let (username, rest) = rest.strip_prefix("/user/")?.split_once("/allocation/")?;
    let (allocation, kind) = rest.split_once('/')?;
    let kind = match kind {
        "status" if payload.starts_with("new ") => StatisticsKind::Began,
        "traffic" => StatisticsKind::Interval(parse_traffic(payload)?),
        "total_traffic" => StatisticsKind::Total(parse_traffic(payload)?),
        _ => return None,
    };
    let username: RelayUsername = username.parse().ok()?;
    let key = SessionKey::new(allocation, username)?;
    Some(StatisticsEvent { key, kind })
}

/// Parses `rcvp=1, rcvb=2, sentp=3, sentb=4`.
fn parse_traffic(payload: &str) -> Option<RelayTraffic> {
    let number = |name: &str| {
        let mut fields = payload
            .split(", ")
            .filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    };
    Some(RelayTraffic {
        in_packets: number("rcvp")?,
        in_bytes: number("rcvb")?,
        out_packets: number("sentp")?,
        out_bytes: number("sentb")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that coturn 4.6.1 published about one allocation, from its start to its end.
    const RECORDED: [(&str, &str); 8] = [
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/status",
            "new lifetime=777, type=UDP, local=127.0.0.1:23478, remote=127.0.0.1:47187, ssl=NONE, cipher=NONE",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/status",
            "refreshed lifetime=600, type=UDP, local=127.0.0.1:23478, remote=127.0.0.1:47187, ssl=NONE, cipher=NONE",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/traffic",
            "rcvp=1075, rcvb=175968, sentp=980, sentb=160180",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/traffic/peer",
            "rcvp=973, rcvb=155680, sentp=1068, sentb=170880",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/traffic",
            "rcvp=884, rcvb=144932, sentp=981, sentb=160804",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/status",
            "deleted",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/total_traffic",
            "rcvp=4008, rcvb=656936, sentp=4008, sentb=656692",
        ),
        (
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002/total_traffic/peer",
            "rcvp=4000, rcvb=640000, sentp=4000, sentb=640000",
        ),
    ];

    const fn traffic(
        in_packets: i64,
        in_bytes: i64,
        out_packets: i64,
        out_bytes: i64,
    ) -> RelayTraffic {
        RelayTraffic {
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
        }
    }

    #[test]
    fn a_recorded_allocation_is_understood() {
        let events = RECORDED.map(|(channel, payload)| parse_message("relay-1", channel, payload));
        let kinds = events.map(|event| event.map(|event| event.kind));
        let interval = StatisticsKind::Interval;
        assert_eq!(
            kinds,
            [
                Some(StatisticsKind::Began),
                None,
                Some(interval(traffic(1_075, 175_968, 980, 160_180))),
                None,
                Some(interval(traffic(884, 144_932, 981, 160_804))),
                None,
                Some(StatisticsKind::Total(traffic(
                    4_008, 656_936, 4_008, 656_692
                ))),
                None,
            ]
        );
        let (channel, payload) = RECORDED[0];
        let event = parse_message("relay-1", channel, payload).expect("understood");
        assert_eq!(event.key.username.to_string(), "1795696840:42.caller.1");
        assert_eq!(event.key.allocation, 1_000_000_000_000_002);
    }

    #[test]
    fn messages_about_others_are_ignored() {
        let traffic = "rcvp=1, rcvb=1, sentp=1, sentb=1";
        for channel in [
            "turn/realm/relay-2/user/1795696840:42.caller.1/allocation/001000000000000002/traffic",
            "turn/realm/relay-1/user/operator/allocation/001000000000000002/traffic",
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/x/traffic",
            "turn/realm/relay-1/user/1795696840:42.caller.1/allocation/001000000000000002",
            "something/else",
        ] {
            assert_eq!(
                parse_message("relay-1", channel, traffic),
                None,
                "{channel}"
            );
        }
        let (channel, _) = RECORDED[2];
        assert_eq!(parse_message("relay-1", channel, "rcvp=1, rcvb=x"), None);
    }
}
