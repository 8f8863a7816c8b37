//! Pages of a list (contract, section 1).

use super::ProfileError;

const PER_PAGE_MAX: i32 = 100;

/// Which page of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    page: i32,
    per_page: i32,
}

impl Page {
    /// The page `page`, from 1, of `per_page` entries, 1 to 100.
    pub fn new(page: i32, per_page: i32) -> Result<Self, ProfileError> {
        if page >= 1 && (1..=PER_PAGE_MAX).contains(&per_page) {
            Ok(Self { page, per_page })
        } else {
            Err(ProfileError::InvalidPage)
        }
    }

    /// Entries on it, at most.
    pub fn limit(self) -> i64 {
        self.per_page.into()
    }

    /// Entries before it.
    pub fn offset(self) -> i64 {
        (i64::from(self.page) - 1) * i64::from(self.per_page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded() {
        let last = Page::new(i32::MAX, 100).expect("a page");
        assert_eq!((last.limit(), last.offset()), (100, 214_748_364_600));
        for (page, per_page) in [(0, 20), (-1, 20), (1, 0), (1, 101)] {
            assert!(Page::new(page, per_page).is_err(), "{page} {per_page}");
        }
    }
}
