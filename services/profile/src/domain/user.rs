//! A person, and how they change themselves.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::{ProfileError, fields};

/// What a person says of their sex.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Sex {
    /// Male.
    Male,
    /// Female.
    Female,
    /// Neither.
    Other,
}

impl Sex {
    /// By its name on the wire.
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        match name {
            "male" => Ok(Self::Male),
            "female" => Ok(Self::Female),
            "other" => Ok(Self::Other),
            _ => Err(ProfileError::InvalidSex),
        }
    }

    /// Its name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
            Self::Other => "other",
        }
    }
}

/// What a person may do. Whoever registers gets the one role that they ask for (seed,
/// `POST /auth/register`); what every person may do needs no role.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Role {
    /// Calls others.
    User,
    /// Is called, and earns by it.
    Listener,
    /// Made by an operator's command alone.
    Admin,
}

impl Role {
    /// A role that one may register with.
    pub fn parse_registered(name: &str) -> Result<Self, ProfileError> {
        match name {
            "user" => Ok(Self::User),
            "listener" => Ok(Self::Listener),
            _ => Err(ProfileError::InvalidRole),
        }
    }

    /// Its name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Listener => "listener",
            Self::Admin => "admin",
        }
    }
}

/// A person.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct User {
    /// Given once, never again.
    pub user_id: i64,
    /// E.164.
    pub phone: String,
    /// Unique without regard to case.
    pub username: String,
    /// A name of [`Sex`].
    pub sex: String,
    /// Date of birth.
    pub dob: NaiveDate,
    /// What they say of themselves.
    pub bio: Option<String>,
    /// What they like to talk about.
    pub interests: Vec<String>,
    /// An address on the web.
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    /// Mean of the stars, in hundredths; `None` before the first.
    pub rating_hundredths: Option<i32>,
    /// Where they are.
    pub country: Option<String>,
    /// Names of each [`Role`] that they have.
    pub roles: Vec<String>,
    /// Grows with every change.
    pub version: i64,
    /// When they registered.
    pub created_at: DateTime<Utc>,
    /// When they last changed.
    pub updated_at: DateTime<Utc>,
}

/// A change that a person makes to their own profile. A `None` keeps the field, and an empty bio, image or country
/// clears it.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    /// See [`User::username`].
    pub username: Option<String>,
    /// See [`User::bio`].
    pub bio: Option<String>,
    /// See [`User::interests`]: the whole list.
    pub interests: Option<Vec<String>>,
    /// See [`User::profile_image_url`].
    pub profile_image_url: Option<String>,
    /// See [`User::preferred_language`].
    pub preferred_language: Option<String>,
    /// See [`User::country`].
    pub country: Option<String>,
    /// See [`User::rating_hundredths`].
    pub rating_hundredths: Option<i32>,
}

impl UserUpdate {
    /// The field rules for what is there, but for texts, which are normalized when they come in.
    pub fn check(&self) -> Result<(), ProfileError> {
        fn each<T: ?Sized>(
            field: Option<&T>,
            rule: impl Fn(&T) -> Result<(), ProfileError>,
        ) -> Result<(), ProfileError> {
            field.map_or(Ok(()), rule)
        }
        each(self.username.as_deref(), fields::check_username)?;
        let image_url = self.profile_image_url.as_deref();
        each(
            image_url.filter(|url| !url.is_empty()),
            fields::check_image_url,
        )?;
        each(self.preferred_language.as_deref(), fields::check_language)?;
        each(self.rating_hundredths.as_ref(), |rating| {
            fields::check_rating(*rating)
        })
    }
}

impl User {
    /// Whether an operator has made them an admin.
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == Role::Admin.name())
    }

    /// Changes what the update names; answers whether anything differs. A rating is accepted from
    /// an admin only, else anyone could rate themselves; the present one may come along, which is zero
    /// before the first.
    pub fn apply(&mut self, update: UserUpdate, now: DateTime<Utc>) -> Result<bool, ProfileError> {
        let present = self.rating_hundredths.unwrap_or_default();
        let rates = update
            .rating_hundredths
            .is_some_and(|rating| rating != present);
        if rates && !self.is_admin() {
            return Err(ProfileError::RatingNotAllowed);
        }
        let before = self.clone();
        replace(&mut self.username, update.username);
        replace(&mut self.interests, update.interests);
        replace(&mut self.preferred_language, update.preferred_language);
        replace_or_clear(&mut self.bio, update.bio);
        replace_or_clear(&mut self.profile_image_url, update.profile_image_url);
        replace_or_clear(&mut self.country, update.country);
        if rates {
            self.rating_hundredths = update.rating_hundredths;
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
            version: 1,
            created_at: long_ago,
            updated_at: long_ago,
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("valid")
    }

    fn rating(rating_hundredths: i32) -> UserUpdate {
        UserUpdate {
            rating_hundredths: Some(rating_hundredths),
            ..UserUpdate::default()
        }
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let mut user = asha(&["user"]);
        let update = UserUpdate {
            username: Some("Asha_R".to_owned()),
            interests: Some(vec![]),
            country: Some("IN".to_owned()),
            ..UserUpdate::default()
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
    fn an_empty_text_clears_its_field() {
        let mut user = asha(&["user"]);
        let empty = || Some(String::new());
        let update = UserUpdate {
            bio: empty(),
            profile_image_url: empty(),
            country: empty(),
            ..UserUpdate::default()
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
    fn what_changes_nothing_is_no_version() {
        let mut user = asha(&["user"]);
        let update = UserUpdate {
            bio: Some("Hello".to_owned()),
            ..UserUpdate::default()
        };
        assert!(!user.apply(update, now()).expect("allowed"));
        assert_eq!(user, asha(&["user"]));
    }

    #[test]
    fn only_an_admin_rates() {
        let mut user = asha(&["listener"]);
        assert!(user.apply(rating(500), now()).is_err());
        assert_eq!(user, asha(&["listener"]));
        assert!(!user.apply(rating(435), now()).expect("the present one"));

        let mut admin = asha(&["admin", "user"]);
        assert!(admin.apply(rating(500), now()).expect("allowed"));
        assert_eq!(admin.rating_hundredths, Some(500));
    }
}
