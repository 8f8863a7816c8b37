//! ICE candidates (RFC 8839, section 5.1). Only those of relays pass, rebuilt from their parts.

use std::net::IpAddr;

/// Longest foundation and user fragment (RFC 8839, section 5).
const FOUNDATION_CHARS_MAX: usize = 32;
const FRAGMENT_CHARS_MAX: usize = 256;

/// Returns the candidate without its related address if it is one of a relay, and `None` otherwise. `text` is the
/// value of an attribute: `candidate:<foundation> <component> <transport> …`.
pub(super) fn filter_candidate(text: &str) -> Option<String> {
    let text = text.trim();
    let (name, value) = text.split_once(':')?;
    if !name.trim().eq_ignore_ascii_case("candidate") {
        return None;
    }
    let tokens: Vec<&str> = value.split_whitespace().collect();
    let [
        foundation,
        component,
        transport,
        priority,
        address,
        port,
        typ,
        kind,
        extensions @ ..,
    ] = tokens.as_slice()
    else {
        return None;
    };
    if !typ.eq_ignore_ascii_case("typ") || !kind.eq_ignore_ascii_case("relay") {
        return None;
    }
    if !is_ice_text(foundation, FOUNDATION_CHARS_MAX) {
        return None;
    }
    let component: u16 = component.parse().ok()?;
    let transport = transport.to_ascii_lowercase();
    let transport = ["udp", "tcp"].into_iter().find(|name| transport == *name)?;
    let priority: u32 = priority.parse().ok()?;
    let address: IpAddr = address.parse().ok()?;
    let port: u16 = port.parse().ok()?;
    let (related_address, extensions) = ("0.0.0.0", filter_extensions(extensions));
    Some(format!(
        "candidate:{foundation} {component} {transport} {priority} {address} {port} typ relay \
         raddr {related_address} rport 0{extensions}"
    ))
}

/// Returns the extensions that have no address, each after a space.
fn filter_extensions(tokens: &[&str]) -> String {
    let pairs = tokens.chunks_exact(2).filter_map(|pair| {
        let name = pair[0].to_ascii_lowercase();
        let is_valid = match name.as_str() {
            "generation" | "network-id" | "network-cost" => pair[1].parse::<u32>().is_ok(),
            "tcptype" => ["active", "passive", "so"].contains(&pair[1]),
            "ufrag" => is_ice_text(pair[1], FRAGMENT_CHARS_MAX),
            _ => false,
        };
        is_valid.then(|| format!(" {name} {}", pair[1]))
    });
    pairs.collect()
}

/// Whether the text consists of the characters that ICE permits in foundations and fragments.
fn is_ice_text(text: &str, chars_max: usize) -> bool {
    let is_permitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    (1..=chars_max).contains(&text.len()) && text.bytes().all(is_permitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &str =
        "candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0";

    #[test]
    fn a_relay_passes_without_its_related_address() {
        let text = "candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 192.168.1.7 \
                    rport 61665 generation 0 ufrag a/b+ network-id 1 network-cost 50";
        assert_eq!(
            filter_candidate(text),
            Some(format!(
                "{RELAY} generation 0 ufrag a/b+ network-id 1 network-cost 50"
            ))
        );
    }

    #[test]
    fn words_in_other_letters_and_with_other_spaces_are_the_same() {
        let text = " CANDIDATE : 1\t1  UDP 41885439 203.0.113.9 50000 TYP Relay ";
        assert_eq!(filter_candidate(text), Some(RELAY.to_owned()));
    }

    #[test]
    fn other_kinds_of_candidates_are_removed() {
        for text in [
            "candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
            "candidate:1 1 udp 1686 198.51.100.4 61665 typ srflx raddr 192.168.1.7 rport 61665",
            "candidate:1 1 udp 1853 198.51.100.4 61665 typ prflx raddr 192.168.1.7 rport 61665",
            "candidate:1 1 udp 2122 4f3c7d2e-1b7a.local 61665 typ host",
            // A second type does not replace the first.
            "candidate:1 1 udp 2122 192.168.1.7 61665 typ host typ relay",
            "candidate:1 1 udp 2122 4f3c7d2e-1b7a.local 61665 typ relay",
            "candidate:1 1 udp 2122 192.168.1.7 typ relay",
            "candidate:",
            "",
            "remote-candidates:1 192.168.1.7 61665",
        ] {
            assert_eq!(filter_candidate(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_carried_along() {
        let text = format!(
            "{RELAY}\r\na=candidate:2 1 udp 2122 192.168.1.7 61665 typ host x-address 192.168.1.8 \
             ufrag 10.0.0.1 tcptype 10.0.0.2"
        );
        assert_eq!(filter_candidate(&text), Some(RELAY.to_owned()));
    }
}
