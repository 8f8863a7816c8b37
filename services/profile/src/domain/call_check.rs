//! Whether a caller may call a listener.

use sqlx::FromRow;

/// Caller and listener of a planned call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlannedParties {
    pub caller_id: i64,
    pub listener_id: i64,
}

/// The facts that decide whether a caller may call a listener.
#[derive(Clone, Debug, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub struct CallPermissionFacts {
    /// `None` if there is no such user.
    pub caller_username: Option<String>,
    /// `None` if there is no such user.
    pub listener_username: Option<String>,
    pub is_listener: bool,
    /// Whether either has blocked or reported the other.
    pub is_blocked: bool,
    /// Whether the listener would have to be verified first.
    pub is_verification_missing: bool,
    /// Whether the listener takes audio calls; true if there is no such user.
    pub audio_enabled: bool,
    /// Whether the listener takes video calls; true if there is no such user.
    pub video_enabled: bool,
    pub caller_image_url: Option<String>,
    pub listener_image_url: Option<String>,
    /// The mean of the stars, in hundredths; `None` before the first.
    pub caller_rating_hundredths: Option<i32>,
    /// The mean of the stars, in hundredths; `None` before the first.
    pub listener_rating_hundredths: Option<i32>,
}
