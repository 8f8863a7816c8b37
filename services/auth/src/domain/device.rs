//! Devices that people log in with.

use std::fmt;

use talktime_kit::text;

const CHARACTERS_MAX: usize = 200;

/// A device as it names itself, shortened to a line, by which its user recognizes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceName(String);

impl DeviceName {
    /// Returns the device of a `User-Agent` header, which may be empty.
    pub fn new(user_agent: &str) -> Self {
        Self(text::visible_line(user_agent, CHARACTERS_MAX))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_short_line() {
        assert_eq!(
            DeviceName::new("Talktime/1.0\r\n\0 (Pixel)").to_string(),
            "Talktime/1.0 (Pixel)"
        );
        assert_eq!(
            DeviceName::new("Pixel\u{202E}\u{200B} 9").to_string(),
            "Pixel 9"
        );
        assert_eq!(
            DeviceName::new(&"x".repeat(9_000)).to_string().len(),
            CHARACTERS_MAX
        );
    }
}
