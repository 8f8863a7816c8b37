//! Sensitive requests, which the operator may allow only a short time after a login with a one-time password. A stolen
//! phone or token then does not suffice for them.

use talktime_kit::{Clock, Error, ErrorKind};

use crate::token::CurrentUser;

/// Decides whether the login of a user is recent enough for sensitive requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct RecentLoginRule {
    max_age_secs: u32,
    clock: Clock,
}

impl RecentLoginRule {
    /// Allows sensitive requests so many seconds after a login; 0 to allow them always.
    pub fn new(max_age_secs: u32, clock: Clock) -> Self {
        Self {
            max_age_secs,
            clock,
        }
    }

    /// Checks the login of the session that sends a sensitive request.
    ///
    /// # Errors
    /// `recent_login_required`: the login is too long ago.
    pub fn check(&self, current_user: &CurrentUser) -> Result<(), Error> {
        if self.max_age_secs == 0 || self.is_recent(current_user.auth_time) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "recent_login_required",
            "Please log in with a new code, and then try again.",
        ))
    }

    fn is_recent(&self, auth_time: Option<i64>) -> bool {
        let now = self.clock.now().timestamp();
        let max_age = i64::from(self.max_age_secs);
        auth_time.is_some_and(|auth_time| now.saturating_sub(auth_time) <= max_age)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use talktime_kit::tokens::UserToken;

    use super::*;

    const NOW: i64 = 1_750_000_000;

    fn check(max_age_secs: u32, auth_time: Option<i64>) -> Result<(), String> {
        let now = DateTime::from_timestamp(NOW, 0).expect("valid");
        let rule = RecentLoginRule::new(max_age_secs, Clock::manual(now));
        let current_user = CurrentUser {
            user_id: 42,
            token: UserToken::new(""),
            token_id: String::new(),
            session_id: String::new(),
            issued_at: NOW,
            expires_at: now,
            auth_time,
        };
        let checked = rule.check(&current_user);
        checked.map_err(|error| error.code().to_owned())
    }

    #[test]
    fn a_login_is_recent_for_some_minutes() {
        let refused = Err("recent_login_required".to_owned());
        assert_eq!(check(600, Some(NOW)), Ok(()));
        assert_eq!(check(600, Some(NOW - 600)), Ok(()));
        assert_eq!(check(600, Some(NOW - 601)), refused);
        assert_eq!(check(600, None), refused, "a token from an old replica");
        assert_eq!(check(0, None), Ok(()));
    }
}
