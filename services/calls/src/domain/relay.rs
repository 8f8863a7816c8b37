//! Allocations at media relays: the user names that they belong to, and their traffic.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use talktime_kit::text_enum;

/// Side of a call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SeatRole {
    Caller,
    Listener,
}

text_enum!(SeatRole {
    Caller => "caller",
    Listener => "listener",
});

/// One side of a call on one session. The epoch grows with each session that joins.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SeatName {
    pub call_id: i64,
    pub role: SeatRole,
    pub epoch: i32,
}

impl SeatName {
    /// Names the seat of this side with this epoch.
    pub fn new(call_id: i64, role: SeatRole, epoch: i32) -> Self {
        Self {
            call_id,
            role,
            epoch,
        }
    }
}

/// User name of a relay credential: the seat, and the end of the credential as Unix time in seconds. No user
/// appears in it, so that the logs of a relay contain none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RelayUsername {
    pub expires_at_secs: i64,
    pub seat: SeatName,
}

/// A text is not the name of a seat or of a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a user name of a relay credential")]
pub struct InvalidRelayUsername;

impl fmt::Display for SeatName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = self.role.name();
        write!(formatter, "{}.{role}.{}", self.call_id, self.epoch)
    }
}

impl fmt::Display for RelayUsername {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.expires_at_secs, self.seat)
    }
}

impl FromStr for SeatName {
    type Err = InvalidRelayUsername;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let (Some(call_id), Some(role), Some(epoch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidRelayUsername);
        };
        Ok(Self {
            call_id: parse_number(call_id)?,
            role: SeatRole::from_name(role).ok_or(InvalidRelayUsername)?,
            epoch: parse_number(epoch)?,
        })
    }
}

impl FromStr for RelayUsername {
    type Err = InvalidRelayUsername;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (expires_at_secs, seat) = text.split_once(':').ok_or(InvalidRelayUsername)?;
        Ok(Self {
            expires_at_secs: parse_number(expires_at_secs)?,
            seat: seat.parse()?,
        })
    }
}

/// Parses a number without sign and leading zeros, so that each name has one text only.
fn parse_number<T: FromStr + ToString>(text: &str) -> Result<T, InvalidRelayUsername> {
    let number: T = text.parse().map_err(|_error| InvalidRelayUsername)?;
    let is_plain = text.starts_with(|first: char| first.is_ascii_digit());
    if is_plain && number.to_string() == text {
        Ok(number)
    } else {
        Err(InvalidRelayUsername)
    }
}

const REALM_CHARS_MAX: usize = 63;

/// Whether a text may be the realm of a relay. It becomes part of a subject of NATS.
pub fn is_realm(text: &str) -> bool {
    let is_permitted = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-'
    };
    (1..=REALM_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_permitted)
}

/// Packets and bytes at the side of the app.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RelayTraffic {
    /// From the app to the relay.
    pub in_packets: i64,
    pub in_bytes: i64,
    /// From the relay to the app.
    pub out_packets: i64,
    pub out_bytes: i64,
}

impl RelayTraffic {
    /// Whether no count is negative.
    pub fn is_valid(self) -> bool {
        let counts = [
            self.in_packets,
            self.in_bytes,
            self.out_packets,
            self.out_bytes,
        ];
        counts.into_iter().all(|count| count >= 0)
    }

    /// Returns the greater of each of the counts.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            in_packets: self.in_packets.max(other.in_packets),
            in_bytes: self.in_bytes.max(other.in_bytes),
            out_packets: self.out_packets.max(other.out_packets),
            out_bytes: self.out_bytes.max(other.out_bytes),
        }
    }

    /// Adds the counts of another interval of the same allocation.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            in_packets: self.in_packets.saturating_add(other.in_packets),
            in_bytes: self.in_bytes.saturating_add(other.in_bytes),
            out_packets: self.out_packets.saturating_add(other.out_packets),
            out_bytes: self.out_bytes.saturating_add(other.out_bytes),
        }
    }
}

/// Totals of an allocation since it began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllocationReport {
    /// Session id of the relay.
    pub allocation: String,
    pub username: RelayUsername,
    /// Grows with each report of the allocation.
    pub seq: i64,
    pub began_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub traffic: RelayTraffic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_parsed_as_it_is_printed() {
        let username = RelayUsername {
            expires_at_secs: 1_900_000_000,
            seat: SeatName {
                call_id: 42,
                role: SeatRole::Listener,
                epoch: 3,
            },
        };
        assert_eq!(username.to_string(), "1900000000:42.listener.3");
        assert_eq!(username.to_string().parse(), Ok(username));
        assert_eq!("42.listener.3".parse(), Ok(username.seat));
    }

    #[test]
    fn other_texts_are_no_user_names() {
        for text in [
            "",
            "42.listener.3",
            "1900000000:42.admin.3",
            "1900000000:42.caller",
            "1900000000:42.caller.3.1",
            "1900000000:-42.caller.3",
            "1900000000:042.caller.3",
            "1900000000:42.caller.+3",
            "x:42.caller.3",
            "1900000000:42.caller.3 ",
        ] {
            let parsed = text.parse::<RelayUsername>();
            assert_eq!(parsed, Err(InvalidRelayUsername), "{text}");
        }
    }
}
