//! The part of a profile that everybody may see.

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
