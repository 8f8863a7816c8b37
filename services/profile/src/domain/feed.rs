//! Queries of the feed (contract, section 5), the listeners on its pages, and the cursors of deep pages.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{CallType, ProfileError, Sex, fields};

const PER_PAGE_MAX: u32 = 100;

/// A page of the feed, as requested.
#[derive(Clone, Debug)]
pub struct FeedPageQuery {
    /// The page contains neither the viewer nor users whom a block separates from the viewer.
    pub viewer_id: i64,
    pub filter: FeedFilter,
    pub order: FeedOrder,
    pub start: FeedPageStart,
    pub per_page: u32,
}

/// Selects listeners. Fields that are absent or empty do not filter.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct FeedFilter {
    pub online_only: bool,
    /// Only listeners who are online, not busy and taking calls.
    pub available_only: bool,
    /// Only listeners who take calls of this type.
    pub call_type: Option<CallType>,
    /// Only verified listeners; the operator decides this, not the viewer.
    pub verified_only: bool,
    pub sex: Option<Sex>,
    /// The least rating; a listener without a rating counts as zero.
    pub min_rating_hundredths: Option<i32>,
    /// The highest rating; a listener without a rating counts as zero.
    pub max_rating_hundredths: Option<i32>,
    /// Any of these interests, normalized and compared without regard to case.
    pub interests: Vec<String>,
    /// A language tag without regard to case, which also finds the longer tags that begin with it (RFC 4647,
    /// 3.3.1).
    pub language: Option<String>,
    /// The beginning of the user name, in lower case.
    pub username_prefix: Option<String>,
}

/// The key by which listeners are sorted; their ids decide between equals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FeedSortKey {
    /// By stars; a listener without a rating counts as zero.
    Rating,
    /// Available listeners first, then busy ones, then those offline.
    Online,
    /// By the last sign of life as the feed shows it; listeners without one count as the oldest.
    Recent,
}

/// The order of the feed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FeedOrder {
    pub sort: FeedSortKey,
    /// The least key first instead of the greatest.
    pub is_ascending: bool,
}

/// The start of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FeedPageStart {
    /// A page number, from 1.
    Page(u32),
    /// After the last listener of an earlier page.
    After(FeedPagePosition),
}

/// The place of a listener in an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FeedPagePosition {
    /// The value of the sort key.
    pub key: i64,
    pub user_id: i64,
}

/// A listener as the feed shows them.
#[derive(Clone, Debug, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub struct FeedListener {
    pub user_id: i64,
    pub username: String,
    /// The name of a [`Sex`].
    pub sex: String,
    pub bio: Option<String>,
    pub interests: Vec<String>,
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    pub country: Option<String>,
    /// The mean of the stars, in hundredths.
    pub rating_hundredths: Option<i32>,
    /// The names of the active [`crate::domain::Role`]s.
    pub roles: Vec<String>,
    pub is_online: bool,
    /// Whether the listener is on a call, or wants none.
    pub is_busy: bool,
    /// Minutes until the listener is free.
    pub wait_time: Option<i32>,
    /// The last sign of life, as of the latest change of status.
    pub last_seen: Option<DateTime<Utc>>,
    pub call_count: i64,
    pub total_call_secs: i64,
    /// Accepted rings of the last thirty days in percent; `None` below twenty rings.
    pub answer_percent: Option<i32>,
    /// Whether an admin has approved the audio sample.
    pub is_verified: bool,
    pub accepting_calls: bool,
    pub audio_enabled: bool,
    pub video_enabled: bool,
    /// The value of the key by which the page was sorted.
    pub(crate) sort_key: i64,
}

/// The numbers of listeners that a filter finds, on all pages.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub struct FeedListenerCounts {
    pub total: i64,
    pub online: i64,
    /// Listeners who are online, not busy and taking calls.
    pub available: i64,
}

/// The numbers of listeners with one value of a dimension.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct ListenerGroupCount {
    /// A sex or a language; `None` in the row of all listeners.
    pub name: Option<String>,
    /// `sex`, `language` or `all`.
    pub dimension: String,
    pub listeners: i64,
    pub online: i64,
    /// Listeners who are online, and busy or taking no calls.
    pub busy: i64,
    /// Listeners who are online, not busy and taking calls.
    pub available: i64,
    /// The sum of the ratings of those who have one, in hundredths.
    pub rating_sum: i64,
    /// Listeners who have a rating.
    pub rated: i64,
}

impl FeedPageQuery {
    /// Checks that the numbers and words are within the bounds of the contract.
    pub fn check(&self) -> Result<(), ProfileError> {
        let is_page =
            self.start != FeedPageStart::Page(0) && (1..=PER_PAGE_MAX).contains(&self.per_page);
        if !is_page {
            return Err(ProfileError::InvalidPage);
        }
        self.filter.check()
    }

    /// The number of listeners before the page.
    pub fn offset(&self) -> i64 {
        match self.start {
            FeedPageStart::Page(page) => (i64::from(page) - 1) * i64::from(self.per_page),
            FeedPageStart::After(_) => 0,
        }
    }
}

impl FeedFilter {
    fn check(&self) -> Result<(), ProfileError> {
        let (min, max) = (self.min_rating_hundredths, self.max_rating_hundredths);
        for rating in [min, max].into_iter().flatten() {
            fields::check_rating(rating)?;
        }
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return Err(ProfileError::InvalidRating);
        }
        match &self.language {
            Some(language) => fields::check_language(language),
            None => Ok(()),
        }
    }
}

impl FeedListener {
    /// The position in the order in which the page was requested.
    pub fn position(&self) -> FeedPagePosition {
        FeedPagePosition {
            key: self.sort_key,
            user_id: self.user_id,
        }
    }

    /// The mean duration of a call in seconds; zero before the first call.
    pub fn avg_call_duration_secs(&self) -> i64 {
        self.total_call_secs
            .checked_div(self.call_count)
            .unwrap_or_default()
    }
}

impl FeedListenerCounts {
    /// Subtracts the listeners whom one viewer does not see. The two are counted a moment apart, so that the
    /// difference could be negative.
    #[must_use]
    pub fn without(self, hidden: Self) -> Self {
        Self {
            total: (self.total - hidden.total).max(0),
            online: (self.online - hidden.online).max(0),
            available: (self.available - hidden.available).max(0),
        }
    }
}

/// Encodes a cursor, which is opaque to clients and valid for one order.
pub fn encode_cursor(order: FeedOrder, position: FeedPagePosition) -> String {
    let mut bytes = vec![order_byte(order)];
    bytes.extend(position.key.to_be_bytes());
    bytes.extend(position.user_id.to_be_bytes());
    hex::encode(bytes)
}

/// Decodes the position in a cursor.
pub fn decode_cursor(order: FeedOrder, cursor: &str) -> Result<FeedPagePosition, ProfileError> {
    let mut bytes = [0; 17];
    hex::decode_to_slice(cursor, &mut bytes).map_err(|_| ProfileError::InvalidCursor)?;
    let [first, rest @ ..] = bytes;
    let (key, user_id) = rest.split_at(8);
    if first != order_byte(order) {
        return Err(ProfileError::InvalidCursor);
    }
    let number = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("half of sixteen"));
    Ok(FeedPagePosition {
        key: number(key),
        user_id: number(user_id),
    })
}

fn order_byte(order: FeedOrder) -> u8 {
    let sort = match order.sort {
        FeedSortKey::Rating => b'r',
        FeedSortKey::Online => b'o',
        // `n` was the letter of the former order by registration, whose keys were other ones.
        FeedSortKey::Recent => b's',
    };
    if order.is_ascending {
        sort.to_ascii_uppercase()
    } else {
        sort
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEST_FIRST: FeedOrder = FeedOrder {
        sort: FeedSortKey::Rating,
        is_ascending: false,
    };

    #[test]
    fn a_cursor_decodes_to_its_position() {
        let position = FeedPagePosition {
            key: 435,
            user_id: i64::MAX,
        };
        let cursor = encode_cursor(BEST_FIRST, position);
        assert_eq!(decode_cursor(BEST_FIRST, &cursor).expect("ours"), position);
    }

    #[test]
    fn a_cursor_of_another_order_or_a_damaged_one_is_refused() {
        let position = FeedPagePosition { key: 1, user_id: 1 };
        let cursor = encode_cursor(BEST_FIRST, position);
        let worst_first = FeedOrder {
            is_ascending: true,
            ..BEST_FIRST
        };
        assert!(decode_cursor(worst_first, &cursor).is_err());
        for invalid in ["", "zz", "72", &cursor[2..], &format!("{cursor}00"), "é"] {
            assert!(decode_cursor(BEST_FIRST, invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn pages_and_filters_have_bounds() {
        let query = |start, per_page, filter| FeedPageQuery {
            viewer_id: 1,
            filter,
            order: BEST_FIRST,
            start,
            per_page,
        };
        let all = FeedFilter::default;
        assert!(query(FeedPageStart::Page(1), 100, all()).check().is_ok());
        assert!(query(FeedPageStart::Page(0), 20, all()).check().is_err());
        assert!(query(FeedPageStart::Page(1), 0, all()).check().is_err());
        assert!(query(FeedPageStart::Page(1), 101, all()).check().is_err());
        let the_wrong_way_round = FeedFilter {
            min_rating_hundredths: Some(400),
            max_rating_hundredths: Some(300),
            ..all()
        };
        assert!(
            query(FeedPageStart::Page(1), 20, the_wrong_way_round)
                .check()
                .is_err()
        );
        let last = query(FeedPageStart::Page(u32::MAX), 100, all());
        assert_eq!(last.offset(), (i64::from(u32::MAX) - 1) * 100);
    }
}
