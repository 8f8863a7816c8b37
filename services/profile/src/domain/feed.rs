//! What may be asked of the feed (contract, section 5), and the cursor that pages deep.

use super::{ProfileError, Sex, fields};

const PER_PAGE_MAX: u32 = 100;

/// A page of the feed, as somebody asks for it.
#[derive(Clone, Debug)]
pub struct FeedQuery {
    /// Who asks: never in the answer, nor anyone blocked either way.
    pub viewer_id: i64,
    /// Whom they want to see.
    pub filter: FeedFilter,
    /// Who comes first.
    pub order: Order,
    /// Where the page starts.
    pub start: Start,
    /// Listeners on it, at most.
    pub per_page: u32,
}

/// Whom somebody wants to see. What is absent or empty does not filter.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct FeedFilter {
    /// Only who is online.
    pub online_only: bool,
    /// Only who is online and free.
    pub available_only: bool,
    /// Only who is verified; the operator's choice, not the viewer's.
    pub verified_only: bool,
    /// Only these.
    pub sex: Option<Sex>,
    /// At least so many stars, in hundredths; who has none yet counts as zero.
    pub min_rating_hundredths: Option<i32>,
    /// At most so many stars, in hundredths; who has none yet counts as zero.
    pub max_rating_hundredths: Option<i32>,
    /// Any of these, whatever their case; normalized.
    pub interests: Vec<String>,
    /// The language preferred, whatever its case: a tag, which also finds the longer tags that begin
    /// with it (RFC 4647, 3.3.1).
    pub language: Option<String>,
}

/// By what listeners are sorted; their ids decide between equals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sort {
    /// Stars; who has none yet counts as zero.
    Rating,
    /// Free before busy before away.
    Online,
    /// Their latest sign of life, as the feed shows it; the never seen count as seen first of all.
    Recent,
}

/// Who comes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// By what.
    pub sort: Sort,
    /// The least first, instead of the most.
    pub is_ascending: bool,
}

/// Where a page starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// At a page, from 1.
    Page(u32),
    /// After a listener whom an earlier page ended with.
    After(Position),
}

/// A listener's place in an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// What they are sorted by.
    pub key: i64,
    /// Who it is.
    pub user_id: i64,
}

impl FeedQuery {
    /// That the numbers and words are such as the contract allows.
    pub fn check(&self) -> Result<(), ProfileError> {
        let is_page = self.start != Start::Page(0) && (1..=PER_PAGE_MAX).contains(&self.per_page);
        if !is_page {
            return Err(ProfileError::InvalidPage);
        }
        self.filter.check()
    }

    /// Listeners before the page.
    pub fn offset(&self) -> i64 {
        match self.start {
            Start::Page(page) => (i64::from(page) - 1) * i64::from(self.per_page),
            Start::After(_) => 0,
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

/// A cursor as clients carry it: opaque to them, good for one order.
pub fn encode_cursor(order: Order, position: Position) -> String {
    let mut bytes = vec![order_byte(order)];
    bytes.extend(position.key.to_be_bytes());
    bytes.extend(position.user_id.to_be_bytes());
    hex::encode(bytes)
}

/// The place that a cursor stands for.
pub fn decode_cursor(order: Order, cursor: &str) -> Result<Position, ProfileError> {
    let mut bytes = [0; 17];
    hex::decode_to_slice(cursor, &mut bytes).map_err(|_| ProfileError::InvalidCursor)?;
    let [first, rest @ ..] = bytes;
    let (key, user_id) = rest.split_at(8);
    if first != order_byte(order) {
        return Err(ProfileError::InvalidCursor);
    }
    let number = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("half of sixteen"));
    Ok(Position {
        key: number(key),
        user_id: number(user_id),
    })
}

fn order_byte(order: Order) -> u8 {
    let sort = match order.sort {
        Sort::Rating => b'r',
        Sort::Online => b'o',
        // Not the letter of the order by registration, which had other keys under the same name.
        Sort::Recent => b's',
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

    const BEST_FIRST: Order = Order {
        sort: Sort::Rating,
        is_ascending: false,
    };

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let position = Position {
            key: 435,
            user_id: i64::MAX,
        };
        let cursor = encode_cursor(BEST_FIRST, position);
        assert_eq!(decode_cursor(BEST_FIRST, &cursor).expect("ours"), position);
    }

    #[test]
    fn a_cursor_of_another_order_or_of_nobodys_is_refused() {
        let position = Position { key: 1, user_id: 1 };
        let cursor = encode_cursor(BEST_FIRST, position);
        let worst_first = Order {
            is_ascending: true,
            ..BEST_FIRST
        };
        assert!(decode_cursor(worst_first, &cursor).is_err());
        for nonsense in ["", "zz", "72", &cursor[2..], &format!("{cursor}00"), "é"] {
            assert!(decode_cursor(BEST_FIRST, nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn pages_and_filters_have_bounds() {
        let query = |start, per_page, filter| FeedQuery {
            viewer_id: 1,
            filter,
            order: BEST_FIRST,
            start,
            per_page,
        };
        let all = FeedFilter::default;
        assert!(query(Start::Page(1), 100, all()).check().is_ok());
        assert!(query(Start::Page(0), 20, all()).check().is_err());
        assert!(query(Start::Page(1), 0, all()).check().is_err());
        assert!(query(Start::Page(1), 101, all()).check().is_err());
        let the_wrong_way_round = FeedFilter {
            min_rating_hundredths: Some(400),
            max_rating_hundredths: Some(300),
            ..all()
        };
        assert!(
            query(Start::Page(1), 20, the_wrong_way_round)
                .check()
                .is_err()
        );
        let last = query(Start::Page(u32::MAX), 100, all());
        assert_eq!(last.offset(), (i64::from(u32::MAX) - 1) * 100);
    }
}
