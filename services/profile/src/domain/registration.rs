//! Registrations of users.

use chrono::NaiveDate;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::{ProfileError, Sex, UserRole, check_terms_version, fields};

const AGE_YEARS_MIN: u32 = 18;
const AGE_YEARS_MAX: u32 = 120;

/// The request of a person to become a user. It is serialized only to be hashed.
#[derive(Clone, Debug, Serialize)]
pub struct RegistrationRequest {
    /// The caller chooses it and keeps it over retries.
    pub registration_id: String,
    /// E.164.
    pub phone: String,
    /// Unique without regard to case.
    pub username: String,
    pub sex: Sex,
    pub dob: NaiveDate,
    pub role: UserRole,
    pub bio: Option<String>,
    pub interests: Vec<String>,
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    /// The version of the terms that the person accepts. Its absence is not hashed, so that a registration that an
    /// older replica has hashed is still recognized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms_version: Option<String>,
}

/// The rows that prevent a registration.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct RegistrationConflicts {
    /// The user whom the same registration, with the same content, has created.
    pub created_user_id: Option<i64>,
    pub is_phone_taken: bool,
    pub is_username_taken: bool,
}

impl RegistrationRequest {
    /// Checks the fields other than texts, which are normalized when they arrive, and that the person is of
    /// age on `today`, the date in India.
    pub fn check(&self, today: NaiveDate) -> Result<(), ProfileError> {
        fields::check_registration_id(&self.registration_id)?;
        fields::check_phone(&self.phone)?;
        fields::check_username(&self.username)?;
        check_age(self.dob, today)?;
        fields::check_language(&self.preferred_language)?;
        if let Some(url) = &self.profile_image_url {
            fields::check_image_url(url)?;
        }
        if let Some(version) = &self.terms_version {
            check_terms_version(version)?;
        }
        Ok(())
    }

    /// The hash of the content, by which a repeated registration is recognized.
    pub fn content_hash(&self) -> Vec<u8> {
        let content = serde_json::to_vec(self).expect("strings and dates have a JSON form");
        Sha256::digest(content).to_vec()
    }
}

impl RegistrationConflicts {
    /// Returns the user whom the registration created before, or the reason for its refusal.
    pub fn resolve(self) -> Result<i64, ProfileError> {
        match self {
            Self {
                created_user_id: Some(user_id),
                ..
            } => Ok(user_id),
            Self {
                is_phone_taken: true,
                ..
            } => Err(ProfileError::PhoneTaken),
            Self {
                is_username_taken: true,
                ..
            } => Err(ProfileError::UsernameTaken),
            _ => Err(ProfileError::RegistrationReused),
        }
    }
}

fn check_age(dob: NaiveDate, today: NaiveDate) -> Result<(), ProfileError> {
    match today.years_since(dob) {
        Some(AGE_YEARS_MIN..=AGE_YEARS_MAX) => Ok(()),
        Some(0..AGE_YEARS_MIN) => Err(ProfileError::UnderAge),
        _ => Err(ProfileError::InvalidDob),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn an_age_of_eighteen_begins_on_the_birthday() {
        for (dob, today, expected) in [
            ("2000-05-10", "2018-05-09", Some("under_age")),
            ("2000-05-10", "2018-05-10", None),
            ("2004-02-29", "2022-02-28", Some("under_age")),
            ("2004-02-29", "2022-03-01", None),
            ("2018-05-10", "2018-05-10", Some("under_age")),
            ("2018-05-11", "2018-05-10", Some("invalid_dob")),
            ("1800-01-01", "2018-05-10", Some("invalid_dob")),
        ] {
            let error = check_age(date(dob), date(today)).err();
            let code = error.map(|error| talktime_kit::Error::from(error).code().to_owned());
            assert_eq!(code.as_deref(), expected, "{dob} on {today}");
        }
    }

    #[test]
    fn a_retry_finds_its_user_although_phone_and_name_are_taken() {
        let conflicts = RegistrationConflicts {
            created_user_id: Some(7),
            is_phone_taken: true,
            is_username_taken: true,
        };
        assert_eq!(conflicts.resolve().expect("the user it created"), 7);
    }

    #[test]
    fn a_registration_with_other_content_has_another_hash() {
        let first = RegistrationRequest {
            registration_id: "r1".to_owned(),
            phone: "+919876543210".to_owned(),
            username: "asha".to_owned(),
            sex: Sex::Female,
            dob: date("1999-12-31"),
            role: UserRole::Listener,
            bio: None,
            interests: vec![],
            profile_image_url: None,
            preferred_language: "en".to_owned(),
            terms_version: None,
        };
        let other = RegistrationRequest {
            role: UserRole::User,
            ..first.clone()
        };
        assert_eq!(first.content_hash(), first.clone().content_hash());
        assert_ne!(first.content_hash(), other.content_hash());
    }
}
