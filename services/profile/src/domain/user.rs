//! Users, and how they change their own profiles.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::FromRow;
use talktime_proto::profile::{ROLE_ADMIN, ROLE_LISTENER, ROLE_USER};

use super::{ProfileError, check_terms_version, fields};

/// The sex that a user states.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Sex {
    Male,
    Female,
    Other,
}

impl Sex {
    /// Parses the name on the wire.
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        match name {
            "male" => Ok(Self::Male),
            "female" => Ok(Self::Female),
            "other" => Ok(Self::Other),
            _ => Err(ProfileError::InvalidSex),
        }
    }

    /// The name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
            Self::Other => "other",
        }
    }
}

/// The right of a user to do something. A registration gets the one role that it requests (seed,
/// `POST /auth/register`); what every user may do needs no role.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum UserRole {
    /// Calls others.
    User,
    /// Takes calls and earns money for them.
    Listener,
    /// Granted only by an operator's command.
    Admin,
}

impl UserRole {
    /// Parses the role of a registration.
    pub fn parse_registered(name: &str) -> Result<Self, ProfileError> {
        match name {
            ROLE_USER => Ok(Self::User),
            ROLE_LISTENER => Ok(Self::Listener),
            _ => Err(ProfileError::InvalidRole),
        }
    }

    /// The name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => ROLE_USER,
            Self::Listener => ROLE_LISTENER,
            Self::Admin => ROLE_ADMIN,
        }
    }
}

#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct User {
    pub user_id: i64,
    /// E.164.
    pub phone: String,
    /// Unique without regard to case.
    pub username: String,
    /// The name of a [`Sex`].
    pub sex: String,
    pub dob: NaiveDate,
    pub bio: Option<String>,
    pub interests: Vec<String>,
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    /// The mean of the stars, in hundredths; `None` before the first.
    pub rating_hundredths: Option<i32>,
    pub country: Option<String>,
    /// The names of the active [`UserRole`]s.
    pub roles: Vec<String>,
    /// The version of the terms that the user accepted last.
    pub terms_version: Option<String>,
    pub terms_accepted_at: Option<DateTime<Utc>>,
    /// Grows with every change.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A change that a user makes to their own profile. `None` keeps the field; an empty bio, image or country
/// clears it.
#[derive(Clone, Debug, Default)]
pub struct UserProfileUpdate {
    pub username: Option<String>,
    pub bio: Option<String>,
    /// Replaces the whole list.
    pub interests: Option<Vec<String>>,
    pub profile_image_url: Option<String>,
    pub preferred_language: Option<String>,
    pub country: Option<String>,
    pub rating_hundredths: Option<i32>,
    /// The version of the terms that the user accepts.
    pub terms_version: Option<String>,
}

impl UserProfileUpdate {
    /// Checks the fields that are present, except texts, which are normalized when they arrive.
    pub fn check(&self) -> Result<(), ProfileError> {
        fn check_present<T: ?Sized>(
            field: Option<&T>,
            rule: impl Fn(&T) -> Result<(), ProfileError>,
        ) -> Result<(), ProfileError> {
            field.map_or(Ok(()), rule)
        }
        check_present(self.username.as_deref(), fields::check_username)?;
        let image_url = self.profile_image_url.as_deref();
        check_present(
            image_url.filter(|url| !url.is_empty()),
            fields::check_image_url,
        )?;
        check_present(self.preferred_language.as_deref(), fields::check_language)?;
        check_present(self.terms_version.as_deref(), check_terms_version)?;
        check_present(self.rating_hundredths.as_ref(), |rating| {
            fields::check_rating(*rating)
        })
    }
}

impl User {
    /// Returns whether the update sets an image that the user does not have yet. Apps often send back the whole
    /// profile, so the present image does not count.
    pub fn gets_new_image(&self, update: &UserProfileUpdate) -> bool {
        let image_url = update.profile_image_url.as_deref();
        image_url.is_some_and(|url| !url.is_empty())
            && image_url != self.profile_image_url.as_deref()
    }

    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == UserRole::Admin.name())
    }

    /// Changes the fields that the update names, and returns whether anything differs. A new rating is accepted
    /// from an admin only, because otherwise users could rate themselves; the present rating, which is zero before
    /// the first, is accepted from everyone.
    pub fn apply(
        &mut self,
        update: UserProfileUpdate,
        now: DateTime<Utc>,
    ) -> Result<bool, ProfileError> {
        let present = self.rating_hundredths.unwrap_or_default();
        let changes_rating = update
            .rating_hundredths
            .is_some_and(|rating| rating != present);
        if changes_rating && !self.is_admin() {
            return Err(ProfileError::RatingNotAllowed);
        }
        let before = self.clone();
        replace(&mut self.username, update.username);
        replace(&mut self.interests, update.interests);
        replace(&mut self.preferred_language, update.preferred_language);
        replace_or_clear(&mut self.bio, update.bio);
        replace_or_clear(&mut self.profile_image_url, update.profile_image_url);
        replace_or_clear(&mut self.country, update.country);
        if changes_rating {
            self.rating_hundredths = update.rating_hundredths;
        }
        if update.terms_version.is_some() && update.terms_version != self.terms_version {
            self.terms_version = update.terms_version;
            self.terms_accepted_at = Some(now);
        }
        if *self == before {
            return Ok(false);
        }
        self.version += 1;
        self.updated_at = now;
        Ok(true)
    }
}

fn replace<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}

fn replace_or_clear(field: &mut Option<String>, new: Option<String>) {
    if let Some(new) = new {
        *field = Some(new).filter(|text| !text.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asha(roles: &[&str]) -> User {
        let long_ago = DateTime::from_timestamp(1_700_000_000, 0).expect("valid");
        User {
            user_id: 1,
            phone: "+919876543210".to_owned(),
            username: "asha".to_owned(),
            sex: "female".to_owned(),
            dob: NaiveDate::from_ymd_opt(1999, 12, 31).expect("valid"),
            bio: Some("Hello".to_owned()),
            interests: vec!["music".to_owned()],
            profile_image_url: None,
            preferred_language: "en".to_owned(),
            rating_hundredths: Some(435),
            country: None,
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            terms_version: None,
            terms_accepted_at: None,
            version: 1,
            created_at: long_ago,
            updated_at: long_ago,
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("valid")
    }

    fn rating(rating_hundredths: i32) -> UserProfileUpdate {
        UserProfileUpdate {
            rating_hundredths: Some(rating_hundredths),
            ..UserProfileUpdate::default()
        }
    }

    #[test]
    fn an_update_changes_the_fields_that_it_names() {
        let mut user = asha(&["user"]);
        let update = UserProfileUpdate {
            username: Some("Asha_R".to_owned()),
            interests: Some(vec![]),
            country: Some("IN".to_owned()),
            ..UserProfileUpdate::default()
        };
        assert!(user.apply(update, now()).expect("allowed"));
        let expected = User {
            username: "Asha_R".to_owned(),
            interests: vec![],
            country: Some("IN".to_owned()),
            version: 2,
            updated_at: now(),
            ..asha(&["user"])
        };
        assert_eq!(user, expected);
    }

    #[test]
    fn terms_are_accepted_at_the_time_of_the_first_update_with_their_version() {
        let mut user = asha(&["user"]);
        let accept = |version: &str| UserProfileUpdate {
            terms_version: Some(version.to_owned()),
            ..UserProfileUpdate::default()
        };
        let later = now() + chrono::TimeDelta::days(1);
        assert!(user.apply(accept("1"), now()).expect("allowed"));
        assert!(!user.apply(accept("1"), later).expect("allowed"));
        assert_eq!(user.terms_accepted_at, Some(now()));
        assert!(user.apply(accept("2"), later).expect("allowed"));
        assert_eq!(user.terms_version.as_deref(), Some("2"));
        assert_eq!(user.terms_accepted_at, Some(later));
    }

    #[test]
    fn an_empty_text_clears_its_field() {
        let mut user = asha(&["user"]);
        let empty = || Some(String::new());
        let update = UserProfileUpdate {
            bio: empty(),
            profile_image_url: empty(),
            country: empty(),
            ..UserProfileUpdate::default()
        };
        update.check().expect("empty texts are allowed");
        assert!(user.apply(update, now()).expect("allowed"));
        assert_eq!((user.bio, user.version), (None, 2));
    }

    #[test]
    fn a_rating_of_zero_is_the_present_one_before_the_first() {
        let mut user = User {
            rating_hundredths: None,
            ..asha(&["user"])
        };
        assert!(!user.apply(rating(0), now()).expect("the present one"));
        assert_eq!(user.rating_hundredths, None);
        assert!(user.apply(rating(1), now()).is_err());
    }

    #[test]
    fn an_update_without_a_difference_keeps_the_version() {
        let mut user = asha(&["user"]);
        let update = UserProfileUpdate {
            bio: Some("Hello".to_owned()),
            ..UserProfileUpdate::default()
        };
        assert!(!user.apply(update, now()).expect("allowed"));
        assert_eq!(user, asha(&["user"]));
    }

    #[test]
    fn only_an_admin_can_change_the_rating() {
        let mut user = asha(&["listener"]);
        assert!(user.apply(rating(500), now()).is_err());
        assert_eq!(user, asha(&["listener"]));
        assert!(!user.apply(rating(435), now()).expect("the present one"));

        let mut admin = asha(&["admin", "user"]);
        assert!(admin.apply(rating(500), now()).expect("allowed"));
        assert_eq!(admin.rating_hundredths, Some(500));
    }
}
