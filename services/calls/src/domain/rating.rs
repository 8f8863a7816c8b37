//! Ratings of a listener by a caller after a call.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use talktime_kit::text;

use super::CallError;
use super::call::CallStatus;

/// Time after the end of a call in which it may be rated.
const RATABLE_FOR: TimeDelta = TimeDelta::days(7);
const COMMENT_CHARACTERS_MAX: usize = 500;

/// Stars and an optional comment, which is not published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallRating {
    /// From 1 to 5.
    pub stars: i16,
    /// Up to 500 characters.
    pub comment: Option<String>,
}

impl CallRating {
    /// Validates a rating. A blank comment counts as none.
    pub fn new(stars: i32, comment: Option<String>) -> Result<Self, CallError> {
        let stars = i16::try_from(stars)
            .ok()
            .filter(|stars| (1..=5).contains(stars));
        let comment = comment.filter(|comment| !comment.trim().is_empty());
        let comment = comment
            .map(|comment| text::normalize_paragraphs(&comment, COMMENT_CHARACTERS_MAX))
            .transpose()
            .map_err(CallError::InvalidComment)?;
        Ok(Self {
            stars: stars.ok_or(CallError::InvalidStars)?,
            comment,
        })
    }
}

/// The part of a call that decides whether it may be rated.
#[derive(Clone, Debug, FromRow)]
pub struct RatableCall {
    pub user_id: i64,
    pub listener_id: i64,
    #[sqlx(try_from = "String")]
    pub status: CallStatus,
    pub end_time: Option<DateTime<Utc>>,
    /// Whether the account of the listener was deleted.
    pub is_listener_gone: bool,
}

impl RatableCall {
    /// Checks whether the user may rate the call now.
    pub fn check_ratable_by(&self, user_id: i64, now: DateTime<Utc>) -> Result<(), CallError> {
        if user_id == self.listener_id {
            return Err(CallError::NotTheCaller);
        }
        if user_id != self.user_id {
            return Err(CallError::NotAParty);
        }
        let Some(end_time) = self
            .end_time
            .filter(|_| self.status == CallStatus::Completed)
        else {
            return Err(CallError::NotCompleted);
        };
        if now - end_time > RATABLE_FOR {
            return Err(CallError::RatingClosed);
        }
        if self.is_listener_gone {
            return Err(CallError::NoSuchListener);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: i64 = 1;
    const LISTENER: i64 = 2;

    fn ended_at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000, 0).expect("valid")
    }

    fn call() -> RatableCall {
        RatableCall {
            user_id: CALLER,
            listener_id: LISTENER,
            status: CallStatus::Completed,
            end_time: Some(ended_at()),
            is_listener_gone: false,
        }
    }

    fn refusal(call: &RatableCall, user_id: i64) -> Option<CallError> {
        call.check_ratable_by(user_id, ended_at()).err()
    }

    #[test]
    fn stars_are_one_to_five() {
        for stars in 1..=5 {
            assert_eq!(
                i32::from(CallRating::new(stars, None).expect("allowed").stars),
                stars
            );
        }
        for stars in [i32::MIN, -1, 0, 6, 65_537] {
            let refused = CallRating::new(stars, None);
            assert!(matches!(refused, Err(CallError::InvalidStars)), "{stars}");
        }
    }

    #[test]
    fn a_comment_is_valid_text_or_none() {
        let rate_with_comment = |comment: &str| CallRating::new(5, Some(comment.to_owned()));
        let kept = rate_with_comment("kind\nand patient")
            .expect("allowed")
            .comment;
        assert_eq!(kept.as_deref(), Some("kind\nand patient"));
        assert_eq!(rate_with_comment(" \n").expect("allowed").comment, None);
        assert!(rate_with_comment(&"ß".repeat(500)).is_ok());
        for (wrong, reason) in [
            ("nul\0", "invisible"),
            ("\u{202E}dnik", "direction"),
            (&"x".repeat(501), "at most 500 characters"),
        ] {
            let refused = talktime_kit::Error::from(rate_with_comment(wrong).expect_err("refused"));
            assert_eq!(refused.code(), "invalid_comment");
            assert!(refused.detail().contains(reason), "{}", refused.detail());
        }
    }

    #[test]
    fn the_caller_may_rate_for_seven_days() {
        let last = ended_at() + TimeDelta::days(7);
        assert!(call().check_ratable_by(CALLER, ended_at()).is_ok());
        assert!(call().check_ratable_by(CALLER, last).is_ok());
        let late = call().check_ratable_by(CALLER, last + TimeDelta::seconds(1));
        assert!(matches!(late, Err(CallError::RatingClosed)));
    }

    #[test]
    fn only_the_caller_may_rate() {
        assert!(matches!(
            refusal(&call(), LISTENER),
            Some(CallError::NotTheCaller)
        ));
        assert!(matches!(refusal(&call(), 3), Some(CallError::NotAParty)));
    }

    #[test]
    fn only_a_completed_call_with_an_existing_listener_is_rated() {
        for status in [
            CallStatus::Ongoing,
            CallStatus::Dropped,
            CallStatus::Cancelled,
        ] {
            let call = RatableCall { status, ..call() };
            assert!(matches!(
                refusal(&call, CALLER),
                Some(CallError::NotCompleted)
            ));
        }
        let gone = RatableCall {
            is_listener_gone: true,
            ..call()
        };
        assert!(matches!(
            refusal(&gone, CALLER),
            Some(CallError::NoSuchListener)
        ));
    }
}
