//! The terms of use that users accept.

use super::ProfileError;

const VERSION_BYTES_MAX: usize = 32;

/// The version of the terms that the operator requires, if any.
#[derive(Clone, Debug, Default)]
pub struct RequiredTermsVersion(Option<String>);

impl RequiredTermsVersion {
    /// An empty version requires nothing.
    pub fn new(version: Option<String>) -> Self {
        Self(version.filter(|version| !version.is_empty()))
    }

    /// Refuses a registration that does not accept the required version.
    pub fn check_registration(&self, accepted: Option<&str>) -> Result<(), ProfileError> {
        match &self.0 {
            Some(required) if accepted != Some(required.as_str()) => {
                Err(ProfileError::TermsOutdated)
            }
            _ => Ok(()),
        }
    }

    /// Refuses an update that accepts another version than the required one. The version that the user has accepted
    /// before is permitted, because an app may send a profile back as it was read.
    pub fn check_update(
        &self,
        accepted: Option<&str>,
        accepted_before: Option<&str>,
    ) -> Result<(), ProfileError> {
        if accepted.is_none() || accepted == accepted_before {
            return Ok(());
        }
        self.check_registration(accepted)
    }
}

/// Checks the form of a version, such as `2026-01`.
pub fn check_terms_version(version: &str) -> Result<(), ProfileError> {
    let is_version = (1..=VERSION_BYTES_MAX).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_graphic());
    if is_version {
        Ok(())
    } else {
        Err(ProfileError::InvalidTermsVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_operator_makes_terms_outdated() {
        for (required, accepted, registers, updates) in [
            (None, None, true, true),
            (Some(""), None, true, true),
            (None, Some("1"), true, true),
            (Some("2"), Some("2"), true, true),
            (Some("2"), Some("1"), false, false),
            (Some("2"), None, false, true),
        ] {
            let terms = RequiredTermsVersion::new(required.map(str::to_owned));
            let case = format!("{required:?} {accepted:?}");
            assert_eq!(
                terms.check_registration(accepted).is_ok(),
                registers,
                "{case}"
            );
            assert_eq!(
                terms.check_update(accepted, None).is_ok(),
                updates,
                "{case}"
            );
        }
    }

    #[test]
    fn a_profile_with_outdated_terms_may_be_sent_back_as_it_was_read() {
        let terms = RequiredTermsVersion::new(Some("2".to_owned()));
        assert!(terms.check_update(Some("1"), Some("1")).is_ok());
        assert!(terms.check_update(Some("0"), Some("1")).is_err());
    }

    #[test]
    fn a_version_is_a_short_visible_word() {
        assert!(check_terms_version("2026-01").is_ok());
        for wrong in ["", "two words", "é", &"1".repeat(VERSION_BYTES_MAX + 1)] {
            assert!(check_terms_version(wrong).is_err(), "{wrong}");
        }
    }
}
