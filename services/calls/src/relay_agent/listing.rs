//! The output of coturn's command `ps`, which lists its sessions.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::relay::RelayTraffic;

use super::session_key::SessionKey;

/// A session as `ps` lists it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ListedSession {
    pub(super) key: SessionKey,
    pub(super) age: Duration,
    /// Totals as of the last time at which coturn published traffic of this session.
    pub(super) traffic: RelayTraffic,
}

/// The output is incomplete or of another form.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown form of a list of sessions: {0}")]
pub(super) struct InvalidListing(&'static str);

/// Parses the sessions of one realm. Sessions whose names no call has are left out.
///
/// # Errors
/// The output is not that of `ps`, or coturn has listed only some of its sessions.
pub(super) fn parse_listing(
    realm: &str,
    output: &str,
) -> Result<Vec<ListedSession>, InvalidListing> {
    let mut entries: Vec<Vec<&str>> = Vec::new();
    let mut total = None;
    for line in output.lines().map(str::trim) {
        if line.contains(") id=") {
            entries.push(vec![line]);
        } else if let Some(number) = line.strip_prefix("Total sessions: ") {
            total = number.parse().ok();
        } else if let Some(entry) = entries.last_mut() {
            entry.push(line);
        }
    }
    if total != Some(entries.len()) {
        return Err(InvalidListing("the number of sessions differs"));
    }
    let sessions = entries.iter().map(|lines| parse_session(realm, lines));
    sessions.filter_map(Result::transpose).collect()
}

fn parse_session(realm: &str, lines: &[&str]) -> Result<Option<ListedSession>, InvalidListing> {
    let first = lines.first().copied().unwrap_or_default();
    let (_, rest) = first.split_once(") id=").ok_or(InvalidListing("no id"))?;
    let (allocation, rest) = rest
        .split_once(", user <")
        .ok_or(InvalidListing("no user"))?;
    let username = rest.strip_suffix(">:").ok_or(InvalidListing("no user"))?;
    if find_value(lines, "realm: ") != Some(realm) {
        return Ok(None);
    }
    let Ok(username) = username.parse() else {
        return Ok(None);
    };
    let key = SessionKey::new(allocation, username).ok_or(InvalidListing("no id"))?;
    let age = find_value(lines, "started ").and_then(|text| text.strip_suffix(" secs ago"));
    let age_secs = age.and_then(parse).ok_or(InvalidListing("no start"))?;
    let usage = find_value(lines, "usage: ").ok_or(InvalidListing("no usage"))?;
    Ok(Some(ListedSession {
        key,
        age: Duration::from_secs(age_secs),
        traffic: parse_usage(usage).ok_or(InvalidListing("no usage"))?,
    }))
}

fn find_value<'a>(lines: &[&'a str], label: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix(label))
}

/// Parses `rp=1, rb=2, sp=3, sb=4`.
fn parse_usage(text: &str) -> Option<RelayTraffic> {
    let mut fields = text.split(", ");
    let mut number = |name: &str| parse(fields.next()?.strip_prefix(name)?);
    Some(RelayTraffic {
        in_packets: number("rp=")?,
        in_bytes: number("rb=")?,
        out_packets: number("sp=")?,
        out_bytes: number("sb=")?,
    })
}

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of coturn 4.6.1 to `ps`.
    const RECORDED: &str = "\r\n    1) id=001000000000000003, user <1795696959:42.caller.1>:\r\n      realm: relay-1\r\n      started 33 secs ago\r\n      expiring in 768 secs\r\n      client protocol UDP, relay protocol UDP\r\n      client addr 127.0.0.1:41543, server addr 127.0.0.1:23478\r\n      relay addr 127.0.0.1:40010\r\n      fingerprints enforced: ON\r\n      mobile: OFF\r\n      usage: rp=3, rb=292, sp=2, sb=212\r\n       rate: r=0, s=0, total=0 (bytes per sec)\r\n\r\n    2) id=000000000000000002, user <1795696959:42.listener.7>:\r\n      realm: relay-1\r\n      started 47 secs ago\r\n      expiring in 591 secs\r\n      client protocol UDP, relay protocol UDP\r\n      client addr 127.0.0.1:44523, server addr 127.0.0.1:23478\r\n      relay addr 127.0.0.1:40046\r\n      fingerprints enforced: ON\r\n      mobile: OFF\r\n      usage: rp=2070, rb=339032, sp=2036, sb=333108\r\n       rate: r=7705, s=7570, total=15275 (bytes per sec)\r\n      peers:\r\n          127.0.0.1:40017\r\n\r\n  Total sessions: 2\r\n\r\n";

    #[test]
    fn a_recorded_listing_is_understood() {
        let sessions = parse_listing("relay-1", RECORDED).expect("understood");
        let [first, second] = sessions[..] else {
            panic!("two sessions: {sessions:?}");
        };
        assert_eq!(first.key.allocation, 1_000_000_000_000_003);
        assert_eq!(first.age, Duration::from_secs(33));
        assert_eq!(second.key.username.to_string(), "1795696959:42.listener.7");
        let traffic = RelayTraffic {
            in_packets: 2_070,
            in_bytes: 339_032,
            out_packets: 2_036,
            out_bytes: 333_108,
        };
        assert_eq!(second.traffic, traffic);
    }

    #[test]
    fn sessions_of_others_are_left_out() {
        assert_eq!(parse_listing("relay-2", RECORDED), Ok(vec![]));
        let other = RECORDED.replace("1795696959:42.listener.7", "operator");
        assert_eq!(
            parse_listing("relay-1", &other).map(|listed| listed.len()),
            Ok(1)
        );
    }

    #[test]
    fn an_incomplete_listing_is_refused() {
        assert!(parse_listing("relay-1", "").is_err());
        assert!(parse_listing("relay-1", &RECORDED[..400]).is_err());
        let truncated = RECORDED.replace("Total sessions: 2", "Total sessions: 300");
        assert!(parse_listing("relay-1", &truncated).is_err());
        let changed = RECORDED.replace("started 33 secs ago", "started long ago");
        assert!(parse_listing("relay-1", &changed).is_err());
        assert_eq!(
            parse_listing("relay-1", "\r\n  Total sessions: 0\r\n"),
            Ok(vec![])
        );
    }
}
