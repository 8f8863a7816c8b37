//! The part of a profile that everybody may see, and who may see the status of a user.

use sqlx::FromRow;

/// The part of a profile that everybody may see.
#[derive(Clone, Debug, FromRow)]
pub struct PublicProfile {
    pub user_id: i64,
    pub username: String,
    pub profile_image_url: Option<String>,
    /// The mean of the stars, in hundredths; `None` before the first.
    pub rating_hundredths: Option<i32>,
}

/// A user whom nothing hides from a viewer: neither has blocked the other.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct UserVisibility {
    pub user_id: i64,
    /// Whether the viewer may see the status without having been on a call with the user: of themselves, of listeners,
    /// and of their favourites.
    pub is_visible: bool,
}
