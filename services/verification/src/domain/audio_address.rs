//! Addresses of samples on other hosts: https, on hosts that an operator has listed.
//!
//! The platform never fetches them, but the browser of an admin does. An address must therefore be what it
//! looks like: no IP address, no port, no password, and no second notation of the same host.

use url::{Host, Url};

use super::VerificationError;

const ADDRESS_BYTES_MAX: usize = 2_048;

/// Checks an address and normalizes it. `hosts` are in lower case.
pub fn normalize_address(address: &str, hosts: &[String]) -> Result<String, VerificationError> {
    let invalid = || VerificationError::InvalidAddress;
    // The parser would correct these silently.
    let is_plain = address
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !is_plain || address.len() > ADDRESS_BYTES_MAX {
        return Err(invalid());
    }
    let url = Url::parse(address).map_err(|_| invalid())?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none()
        && url.fragment().is_none();
    if url.scheme() != "https" || !is_bare {
        return Err(invalid());
    }
    // The parser has turned numbers in any notation (0x7f.1, 2130706433) into IP addresses.
    let Some(Host::Domain(host)) = url.host() else {
        return Err(invalid());
    };
    if !is_written_as(address, host) {
        return Err(invalid());
    }
    if hosts.iter().any(|allowed| allowed == host) {
        Ok(url.into())
    } else {
        Err(VerificationError::HostNotAllowed)
    }
}

/// Returns whether the address contains the host literally, and not percent-encoded, after an empty user name
/// or with the default port.
fn is_written_as(address: &str, host: &str) -> bool {
    let authority = address.get("https://".len()..).unwrap_or_default();
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    authority[..end].eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(address: &str) -> Result<String, String> {
        let hosts = ["cdn.example.com".to_owned()];
        normalize_address(address, &hosts)
            .map_err(|error| talktime_kit::Error::from(error).code().to_owned())
    }

    #[test]
    fn an_address_on_an_allowed_host_is_accepted() {
        for address in [
            "https://cdn.example.com/a.mp3",
            "https://cdn.example.com/a%20b.mp3?token=1",
        ] {
            assert_eq!(checked(address).as_deref(), Ok(address));
        }
        let normal = "https://cdn.example.com/a.mp3".to_owned();
        assert_eq!(checked("HTTPS://CDN.example.COM/a.mp3"), Ok(normal));
    }

    #[test]
    fn other_hosts_are_refused() {
        for address in [
            "https://example.com/a.mp3",
            "https://evil-cdn.example.com/a.mp3",
            "https://cdn.example.com.evil.test/a.mp3",
            "https://cdn.example.com./a.mp3",
            "https://localhost/a.mp3",
            "https://metadata.google.internal/a.mp3",
        ] {
            let refused = Err("audio_host_not_allowed".to_owned());
            assert_eq!(checked(address), refused, "{address}");
        }
    }

    #[test]
    fn ip_addresses_and_disguised_hosts_are_refused() {
        for address in [
            "",
            "cdn.example.com/a.mp3",
            "http://cdn.example.com/a.mp3",
            "ftp://cdn.example.com/a.mp3",
            "file:///etc/passwd",
            "data:audio/mpeg;base64,AAAA",
            "https://127.0.0.1/a.mp3",
            "https://10.0.0.1/a.mp3",
            "https://172.16.0.1/a.mp3",
            "https://192.168.0.1/a.mp3",
            "https://169.254.169.254/latest/meta-data",
            "https://0/a.mp3",
            "https://2130706433/a.mp3",
            "https://0x7f.1/a.mp3",
            "https://0177.0.0.1/a.mp3",
            "https://[::1]/a.mp3",
            "https://[::ffff:10.0.0.1]/a.mp3",
            "https://[fd00::1]/a.mp3",
            "https://user@cdn.example.com/a.mp3",
            "https://user:password@cdn.example.com/a.mp3",
            "https://@cdn.example.com/a.mp3",
            "https://cdn.example.com@10.0.0.1/a.mp3",
            "https://cdn.example.com:443/a.mp3",
            "https://cdn.example.com:8443/a.mp3",
            "https://cdn.example.com/a.mp3#fragment",
            "https://cdn%2eexample%2ecom/a.mp3",
            "https://c%64n.example.com/a.mp3",
            "https://cdn。example。com/a.mp3",
            "https://ｃdn.example.com/a.mp3",
            "https://cdn.example.com\\@10.0.0.1/a.mp3",
            "https:\\\\cdn.example.com/a.mp3",
            "https:cdn.example.com/a.mp3",
            "https:///cdn.example.com/a.mp3",
            " https://cdn.example.com/a.mp3",
            "https://cdn.example.com/a.mp3\r\nX-Header: 1",
            "https://cdn.exa\tmple.com/a.mp3",
        ] {
            let refused = Err("invalid_audio_url".to_owned());
            assert_eq!(checked(address), refused, "{address}");
        }
        let long = format!("https://cdn.example.com/{}", "a".repeat(ADDRESS_BYTES_MAX));
        assert!(checked(&long).is_err());
    }
}
