//! Session descriptions (RFC 8866). Each line is kept as it is, rewritten without addresses, or removed.

use std::net::IpAddr;

use super::ice_candidate::filter_candidate;

/// Separators of words within a line, besides white space. A colon separates the name of an attribute from its value,
/// and is part of an address of version 6.
const SEPARATORS: &[char] = &[
    '/', ';', ',', '=', '@', '[', ']', '(', ')', '<', '>', '"', '%',
];

/// `fingerprint:` and the name of a hash function.
const FINGERPRINT_NAME_CHARS_MAX: usize = 24;
/// 64 bytes of SHA-512.
const FINGERPRINT_CHARS_MAX: usize = 191;
/// Parts of an address of version 6 between colons.
const ADDRESS_PARTS_MAX: usize = 9;

/// Returns the description with candidates of relays only, and without any other address. Lines end with a line feed,
/// a carriage return or both, since parsers differ in what they accept.
pub(super) fn filter_description(sdp: &str) -> String {
    let lines = sdp.split(['\r', '\n']);
    let kept = lines.filter_map(filter_line);
    kept.map(|line| line + "\r\n").collect()
}

/// Returns the line as it may pass. A line in any other form than `<letter>=<value>` is removed, also one that begins
/// with white space: a lenient parser might read it as something else.
fn filter_line(line: &str) -> Option<String> {
    if line.chars().any(char::is_control) {
        return None;
    }
    let (letter, value) = line.split_once('=')?;
    match letter {
        "a" => filter_attribute(value),
        "c" => Some("c=IN IP4 0.0.0.0".to_owned()),
        "o" => filter_origin(value),
        "m" => filter_media(value),
        "s" => Some("s=-".to_owned()),
        "v" | "t" | "b" => (!names_address(value)).then(|| line.to_owned()),
        // The others have mail addresses, phone numbers, pages and keys.
        _ => None,
    }
}

fn filter_attribute(value: &str) -> Option<String> {
    let name = value.split(':').next().unwrap_or_default().trim();
    let line = match name.to_ascii_lowercase().as_str() {
        "candidate" => return Some(format!("a={}", filter_candidate(value)?)),
        "end-of-candidates" => return Some("a=end-of-candidates".to_owned()),
        "rtcp" => return Some("a=rtcp:9 IN IP4 0.0.0.0".to_owned()),
        "fingerprint" => return is_fingerprint(value).then(|| format!("a={value}")),
        name if name.contains("candidate") => return None,
        // With discontinuous transmission, an app whose user is silent sends no packets, as if its connection were
        // lost.
        "fmtp" => format!("a={}", value.replace("usedtx=1", "usedtx=0")),
        _ => format!("a={value}"),
    };
    (!names_address(&line)).then_some(line)
}

/// Whether the value is a hash in pairs of digits, a part of which could otherwise be read as an address.
fn is_fingerprint(value: &str) -> bool {
    let Some((name, hash)) = value.split_once(' ') else {
        return false;
    };
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b':';
    name.len() <= FINGERPRINT_NAME_CHARS_MAX
        && name.bytes().all(is_name_byte)
        && hash.len() <= FINGERPRINT_CHARS_MAX
        && hash.split(':').all(is_pair)
}

/// Keeps the numbers of the session, and neither the name of a user nor an address.
fn filter_origin(value: &str) -> Option<String> {
    let mut words = value.split_whitespace().skip(1);
    let (session, version) = (words.next()?, words.next()?);
    let is_number = |text: &str| text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(session) && is_number(version))
        .then(|| format!("o=- {session} {version} IN IP4 0.0.0.0"))
}

/// Replaces the port, which the network of the device may have assigned; zero means that the medium is refused.
fn filter_media(value: &str) -> Option<String> {
    let mut words = value.split_whitespace();
    let (kind, port) = (words.next()?, words.next()?);
    let port: u16 = port.parse().ok()?;
    let port = if port == 0 { 0 } else { 9 };
    let others: Vec<&str> = words.collect();
    let line = format!("m={kind} {port} {}", others.join(" "));
    (!names_address(&line)).then_some(line)
}

/// Whether an IP address or a name of multicast DNS occurs in a line.
fn names_address(line: &str) -> bool {
    let mut words = line.split(|char: char| char.is_whitespace() || SEPARATORS.contains(&char));
    words.any(names_address_between_colons)
}

/// Whether a part of a word from one colon to another is an address: names and ports may precede and follow it.
fn names_address_between_colons(word: &str) -> bool {
    let ends = |at: &usize| *at == word.len() || word.as_bytes()[*at] == b':';
    let ends: Vec<usize> = (0..=word.len()).filter(ends).collect();
    let begins = std::iter::once(0).chain(ends.iter().map(|end| end + 1));
    begins.zip(0..ends.len()).any(|(begin, first)| {
        let mut parts = ends[first..].iter().take(ADDRESS_PARTS_MAX);
        parts.any(|end| is_address(&word[begin..*end]))
    })
}

fn is_address(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    let is_local_name = || {
        let end = word.len().checked_sub(6).and_then(|at| word.get(at..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(".local"))
    };
    word.parse::<IpAddr>()
        .is_ok_and(|address| !address.is_unspecified())
        || is_local_name()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Chromium writes it, with addresses of all kinds.
    const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0\r\na=msid-semantic: WMS 5c9c\r\n\
        m=audio 61665 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 198.51.100.4\r\n\
        a=rtcp:61666 IN IP4 198.51.100.4\r\n\
        a=candidate:1 1 udp 2122260223 192.168.1.7 61665 typ host generation 0\r\n\
        a=candidate:2 1 udp 2122262783 2001:db8::7 61665 typ host generation 0\r\n\
        a=candidate:3 1 udp 1686052607 198.51.100.4 61665 typ srflx raddr 192.168.1.7 rport 61665\r\n\
        a=candidate:4 1 udp 41885439 203.0.113.9 50000 typ relay raddr 198.51.100.4 rport 61665\r\n\
        a=end-of-candidates\r\na=ice-ufrag:Yj2k\r\na=ice-pwd:mGZ5lQ0xQb1J\r\n\
        a=fingerprint:sha-256 3A:96:6D:57:B2:C2:C7:61:A0:46:3E:1C:97:39:D3:F7\r\na=setup:actpass\r\n\
        a=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtcp-mux\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;usedtx=1;useinbandfec=1\r\n\
        a=ssrc:3735928559 cname:v1SBHP7c76XqYcWx\r\n";

    #[test]
    fn a_description_keeps_all_but_addresses() {
        let expected = "v=0\r\no=- 4611731400430051336 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            a=group:BUNDLE 0\r\na=msid-semantic: WMS 5c9c\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\n\
            a=rtcp:9 IN IP4 0.0.0.0\r\n\
            a=candidate:4 1 udp 41885439 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0\r\n\
            a=end-of-candidates\r\na=ice-ufrag:Yj2k\r\na=ice-pwd:mGZ5lQ0xQb1J\r\n\
            a=fingerprint:sha-256 3A:96:6D:57:B2:C2:C7:61:A0:46:3E:1C:97:39:D3:F7\r\n\
            a=setup:actpass\r\na=mid:0\r\n\
            a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtcp-mux\r\n\
            a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;usedtx=0;useinbandfec=1\r\n\
            a=ssrc:3735928559 cname:v1SBHP7c76XqYcWx\r\n";
        assert_eq!(filter_description(OFFER), expected);
    }

    #[test]
    fn a_filtered_description_is_not_changed_again() {
        let once = filter_description(OFFER);
        assert_eq!(filter_description(&once), once);
    }

    #[test]
    fn hostile_lines_are_removed() {
        for line in [
            "a=Candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
            " a=candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
            "a= candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
            "a=candidate :1 1 udp 2122 192.168.1.7 61665 typ host",
            "A=candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
            "a =candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
            "a=x-candidate:1 1 udp 2122 192.168.1.7 61665 typ relay",
            "a=remote-candidates:1 192.168.1.7 61665",
            "a=x-address:192.168.1.7",
            "a=x-address:2001:db8::7",
            "a=x-address:[2001:db8::7]:61665",
            "a=x-address:192.168.1.7:61665",
            "a=x-address:a:b:192.168.1.7",
            "a=x-address:a:2001:db8::7",
            "a=fingerprint:sha-256 192.168.1.7",
            "a=a=a=x-address:192.168.1.7",
            "a=ssrc:1 cname:asha@192.168.1.7",
            "a=x-host:4f3c7d2e.local",
            "a=x-host:4f3c7d2e.LOCAL.",
            "a=candidate:1 1 udp 2122 192.168.1.7 61665 typ\u{b}host",
            "m=audio 61665 UDP/TLS/RTP/SAVPF 192.168.1.7",
            "b=AS:192.168.1.7",
            "e=asha@example.com",
            "u=https://192.168.1.7/",
            "i=192.168.1.7",
            "k=clear:secret",
            "o=- x 2 IN IP4 192.168.1.7",
            "candidate:1 1 udp 2122 192.168.1.7 61665 typ host",
        ] {
            assert_eq!(filter_description(line), "", "{line}");
        }
    }

    #[test]
    fn a_lone_carriage_return_ends_a_line() {
        let sdp = "a=mid:0\ra=candidate:1 1 udp 2122 192.168.1.7 61665 typ host\ra=rtcp-mux";
        assert_eq!(filter_description(sdp), "a=mid:0\r\na=rtcp-mux\r\n");
    }

    /// Pieces of which hostile descriptions consist.
    fn piece() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "a=",
            "A=",
            "c=",
            "o=",
            "m=",
            "b=",
            " ",
            "\t",
            "\r",
            "\n",
            "\r\n",
            "\u{b}",
            "\u{85}",
            "candidate",
            "CANDIDATE",
            "Candidate",
            ":",
            "remote-candidates:",
            "end-of-candidates",
            "x-any:",
            "rtcp:",
            "fmtp:111 ",
            "1 1 udp 2122 ",
            "192.168.1.7",
            "10.0.0.8",
            "2001:db8::7",
            "fe80::1",
            "4f3c7d2e.local",
            " 61665",
            " typ ",
            "TYP",
            "host",
            "relay",
            "srflx",
            " raddr ",
            " rport ",
            "IN IP4 ",
            "=",
            ";",
            "/",
            "@",
            "[",
            "]",
            "audio ",
            "- 1 2 ",
        ]);
        prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        /// Only a complete candidate that calls itself one of a relay has an address afterwards.
        #[test]
        fn no_address_of_a_device_passes(pieces in prop::collection::vec(piece(), 0..60)) {
            let filtered = filter_description(&pieces.concat());
            for line in filtered.split("\r\n") {
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
                if line.starts_with("a=candidate:") {
                    prop_assert!(line.contains(" typ relay raddr 0.0.0.0 rport 0"), "{line:?}");
                } else {
                    for address in ["192.168.1.7", "10.0.0.8", "4f3c7d2e.local"] {
                        let mut words = line.split([' ', ':', '=', ';', '/', '@', '[', ']']);
                        prop_assert!(!words.any(|word| word == address), "{line:?}");
                    }
                    for address in ["2001:db8::7", "fe80::1"] {
                        let mut words = line.split([' ', '=', ';', '/', '@', '[', ']']);
                        prop_assert!(!words.any(|word| word == address), "{line:?}");
                    }
                }
            }
            prop_assert_eq!(filter_description(&filtered), filtered);
        }
    }
}
