//! Favourites of users.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

/// A favourite as the user who added it sees it.
#[derive(Clone, Debug, FromRow)]
pub struct FavoriteListener {
    pub user_id: i64,
    pub username: String,
    /// The name of a [`crate::domain::Sex`].
    pub sex: String,
    pub bio: Option<String>,
    pub interests: Vec<String>,
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    pub country: Option<String>,
    /// The mean of the stars, in hundredths.
    pub rating_hundredths: Option<i32>,
    pub is_online: bool,
    /// Whether the listener is on a call, or wants none.
    pub is_busy: bool,
    /// Minutes until the listener is free.
    pub wait_time: Option<i32>,
    /// The last sign of life, as of the latest change of status.
    pub last_seen: Option<DateTime<Utc>>,
    pub accepting_calls: bool,
    pub favorited_at: DateTime<Utc>,
}

/// Selects a part of a user's favourites; the default selects all.
#[derive(Clone, Copy, Debug, Default)]
pub struct FavoriteListenerFilter {
    pub online_only: bool,
    /// Only those who are online, not busy and taking calls.
    pub available_only: bool,
}

impl FavoriteListenerFilter {
    /// The least `availability` of a listener whom the filter finds.
    pub fn availability_min(self) -> i64 {
        match self {
            Self {
                available_only: true,
                ..
            } => 2,
            Self {
                online_only: true, ..
            } => 1,
            _ => 0,
        }
    }
}
