//! Users of the app.

use uuid::Uuid;

/// The role with which a user signs up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UserRole {
    /// The user calls and pays.
    User,
    /// The user takes calls and earns.
    Listener,
}

impl UserRole {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Listener => "listener",
        }
    }
}

/// A user before the registration.
#[derive(Clone, Debug)]
pub struct NewAppUser {
    /// Phone number in E.164.
    pub phone: String,
    /// Name of 3 to 50 letters, digits and underscores.
    pub username: String,
    /// Sex: `male`, `female` or `other`.
    pub sex: String,
    /// Date of birth in ISO 8601.
    pub dob: String,
    /// Role to register with.
    pub role: UserRole,
    /// Up to 10 interests.
    pub interests: Vec<String>,
}

impl NewAppUser {
    /// Returns an adult with a random phone number and a random username that begins with `name`.
    pub fn with_name(name: &str, role: UserRole) -> Self {
        Self {
            phone: random_phone(),
            username: random_username(name),
            sex: "female".to_owned(),
            dob: "1995-06-15".to_owned(),
            role,
            interests: Vec::new(),
        }
    }
}

/// A registered user who is logged in.
#[derive(Clone, Debug)]
pub struct AppUser {
    /// Id of the user.
    pub user_id: i64,
    /// Phone number in E.164.
    pub phone: String,
    /// Name that others see.
    pub username: String,
    /// Token for requests.
    pub access_token: String,
    /// Token for the next pair of tokens.
    pub refresh_token: String,
}

/// Returns one of a thousand million Indian mobile numbers, in E.164.
pub fn random_phone() -> String {
    format!("+919{:09}", Uuid::new_v4().as_u128() % 1_000_000_000)
}

/// Returns an unused username that begins with `name`.
pub fn random_username(name: &str) -> String {
    let unique = Uuid::new_v4().simple().to_string();
    format!("{name}_{}", &unique[..10])
}
