//! How somebody becomes a user.

use chrono::NaiveDate;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::{ProfileError, Role, Sex, fields};

const AGE_YEARS_MIN: u32 = 18;
const AGE_YEARS_MAX: u32 = 120;

/// Somebody who wants to be a user. Serialised only to be hashed.
#[derive(Clone, Debug, Serialize)]
pub struct Registration {
    /// Made by the caller, kept over retries.
    pub registration_id: String,
    /// E.164.
    pub phone: String,
    /// Unique without regard to case.
    pub username: String,
    /// What they say of their sex.
    pub sex: Sex,
    /// Date of birth.
    pub dob: NaiveDate,
    /// The one role that they get.
    pub role: Role,
    /// What they say of themselves.
    pub bio: Option<String>,
    /// What they like to talk about.
    pub interests: Vec<String>,
    /// An address on the web.
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
}

/// What stands in a registration's way.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Conflicts {
    /// The user whom the same registration, with the same content, has made.
    pub made_user_id: Option<i64>,
    /// Whether somebody has the phone.
    pub is_phone_taken: bool,
    /// Whether somebody has the name.
    pub is_username_taken: bool,
}

impl Registration {
    /// The field rules for what is not text, which is normalized when it comes in; and that they are of
    /// age today, which is the date in India.
    pub fn check(&self, today: NaiveDate) -> Result<(), ProfileError> {
        fields::check_registration_id(&self.registration_id)?;
        fields::check_phone(&self.phone)?;
        fields::check_username(&self.username)?;
        check_age(self.dob, today)?;
        fields::check_language(&self.preferred_language)?;
        if let Some(url) = &self.profile_image_url {
            fields::check_image_url(url)?;
        }
        Ok(())
    }

    /// What must be the same for it to be the same registration.
    pub fn content_hash(&self) -> Vec<u8> {
        let content = serde_json::to_vec(self).expect("strings and dates have a JSON form");
        Sha256::digest(content).to_vec()
    }
}

impl Conflicts {
    /// The user whom it made before, or why it makes none.
    pub fn resolve(self) -> Result<i64, ProfileError> {
        match self {
            Self {
                made_user_id: Some(user_id),
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
    fn people_are_eighteen_on_their_birthday() {
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
    fn a_retry_outranks_its_own_traces() {
        let conflicts = Conflicts {
            made_user_id: Some(7),
            is_phone_taken: true,
            is_username_taken: true,
        };
        assert_eq!(conflicts.resolve().expect("the user it made"), 7);
    }

    #[test]
    fn other_content_is_another_registration() {
        let first = Registration {
            registration_id: "r1".to_owned(),
            phone: "+919876543210".to_owned(),
            username: "asha".to_owned(),
            sex: Sex::Female,
            dob: date("1999-12-31"),
            role: Role::Listener,
            bio: None,
            interests: vec![],
            profile_image_url: None,
            preferred_language: "en".to_owned(),
        };
        let other = Registration {
            role: Role::User,
            ..first.clone()
        };
        assert_eq!(first.content_hash(), first.clone().content_hash());
        assert_ne!(first.content_hash(), other.content_hash());
    }
}
