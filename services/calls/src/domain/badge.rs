//! Badges, which set the earnings of a listener by the time they talked on the day before (contract,
//! section 10).

use serde::{Deserialize, Serialize};
use talktime_kit::text_enum;
use talktime_kit::{Error, ErrorKind};

use super::call_type::CallType;

/// A badge, which a listener gets by the time that they talked on the day before.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Badge {
    /// The badge of every listener without a higher one.
    Basic,
    /// From three hours on, by default.
    Bronze,
    /// From six hours on, by default.
    Silver,
    /// From nine hours on, by default.
    Gold,
}

// From the lowest to the highest.
text_enum!(Badge {
    Basic => "basic",
    Bronze => "bronze",
    Silver => "silver",
    Gold => "gold",
});

/// Threshold and rates of a badge.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BadgeTerms {
    /// Hours of completed calls on the day before.
    pub hours: u32,
    pub audio_paise: u32,
    pub video_paise: u32,
}

impl BadgeTerms {
    /// Rate of a minute in paise.
    pub fn paise_per_minute(&self, call_type: CallType) -> i64 {
        i64::from(match call_type {
            CallType::Audio => self.audio_paise,
            CallType::Video => self.video_paise,
        })
    }

    fn secs(&self) -> i64 {
        i64::from(self.hours) * 3_600
    }
}

/// Thresholds and rates of all badges.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct BadgeCard {
    /// The badge below the threshold of bronze; its own threshold is zero.
    pub basic: BadgeTerms,
    pub bronze: BadgeTerms,
    pub silver: BadgeTerms,
    pub gold: BadgeTerms,
}

impl BadgeCard {
    /// Returns the threshold and rates of a badge.
    pub fn terms(&self, badge: Badge) -> &BadgeTerms {
        match badge {
            Badge::Basic => &self.basic,
            Badge::Bronze => &self.bronze,
            Badge::Silver => &self.silver,
            Badge::Gold => &self.gold,
        }
    }

    /// The badge of a listener who talked for so many seconds the day before.
    pub fn badge_for(&self, talked_secs: i64) -> Badge {
        let reached = |badge: &&Badge| talked_secs >= self.terms(**badge).secs();
        let highest = Badge::ALL.iter().rev().find(reached);
        highest.copied().unwrap_or(Badge::Basic)
    }

    /// Hours that the next higher badge requires; `None` above gold.
    pub fn next_threshold_hours(&self, badge: Badge) -> Option<u32> {
        let next_badge = Badge::ALL.into_iter().find(|other| *other > badge);
        next_badge.map(|badge| self.terms(badge).hours)
    }

    /// Whether each badge requires more hours than the one below it.
    pub fn is_in_order(&self) -> bool {
        Badge::ALL
            .windows(2)
            .all(|pair| self.terms(pair[0]).hours < self.terms(pair[1]).hours)
    }
}

/// Refusals about badges; the text is the detail for the user.
#[derive(Debug, thiserror::Error)]
pub enum BadgeError {
    /// The day is in the future or too long ago.
    #[error("target_date must be within the last year, and not in the future.")]
    BadDate,
    /// The range is empty or too long.
    #[error("start_date must not be after end_date, nor more than a year before it.")]
    BadRange,
    /// The listener had no badge on that day, or the user is no listener.
    #[error("This person had no badge on that day.")]
    NoSuchBadge,
    /// Another replica is assigning badges.
    #[error("Badges are being given just now; please try again in a moment.")]
    AssignmentRunning,
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<sqlx::Error> for BadgeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<BadgeError> for Error {
    fn from(error: BadgeError) -> Self {
        let (kind, code) = match error {
            BadgeError::BadDate => (ErrorKind::InvalidArgument, "invalid_target_date"),
            BadgeError::BadRange => (ErrorKind::InvalidArgument, "invalid_date_range"),
            BadgeError::NoSuchBadge => (ErrorKind::NotFound, "badge_not_found"),
            BadgeError::AssignmentRunning => (ErrorKind::Conflict, "badges_are_being_given"),
            BadgeError::Other(error) => return error,
        };
        Self::new(kind, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn terms(hours: u32, audio_paise: u32, video_paise: u32) -> BadgeTerms {
        BadgeTerms {
            hours,
            audio_paise,
            video_paise,
        }
    }

    const CARD: BadgeCard = BadgeCard {
        basic: terms(0, 100, 600),
        bronze: terms(3, 125, 700),
        silver: terms(6, 150, 850),
        gold: terms(9, 180, 1_000),
    };

    #[test]
    fn a_badge_is_reached_with_its_last_second() {
        for (talked_secs, badge) in [
            (0, Badge::Basic),
            (3 * 3_600 - 1, Badge::Basic),
            (3 * 3_600, Badge::Bronze),
            (6 * 3_600 - 1, Badge::Bronze),
            (6 * 3_600, Badge::Silver),
            (9 * 3_600 - 1, Badge::Silver),
            (9 * 3_600, Badge::Gold),
            (24 * 3_600, Badge::Gold),
        ] {
            assert_eq!(CARD.badge_for(talked_secs), badge, "{talked_secs} s");
        }
    }

    #[test]
    fn the_next_threshold_is_that_of_the_badge_above() {
        assert_eq!(CARD.next_threshold_hours(Badge::Basic), Some(3));
        assert_eq!(CARD.next_threshold_hours(Badge::Silver), Some(9));
        assert_eq!(CARD.next_threshold_hours(Badge::Gold), None);
    }

    #[test]
    fn a_card_that_gives_gold_for_less_than_silver_is_out_of_order() {
        assert!(CARD.is_in_order());
        let gold = terms(5, 180, 1_000);
        assert!(!BadgeCard { gold, ..CARD }.is_in_order());
    }
}
