//! Pages of a list (contract, section 1).

use super::ProfileError;

const PER_PAGE_MAX: i32 = 100;

/// A page of a list, as requested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageRequest {
    page: i32,
    per_page: i32,
}

impl PageRequest {
    /// Page `page`, from 1, with `per_page` entries, 1 to 100.
    pub fn new(page: i32, per_page: i32) -> Result<Self, ProfileError> {
        if page >= 1 && (1..=PER_PAGE_MAX).contains(&per_page) {
            Ok(Self { page, per_page })
        } else {
            Err(ProfileError::InvalidPage)
        }
    }

    /// The most entries on the page.
    pub fn limit(self) -> i64 {
        self.per_page.into()
    }

    /// The number of entries before the page.
    pub fn offset(self) -> i64 {
        (i64::from(self.page) - 1) * i64::from(self.per_page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded() {
        let last = PageRequest::new(i32::MAX, 100).expect("a page");
        assert_eq!((last.limit(), last.offset()), (100, 214_748_364_600));
        for (page, per_page) in [(0, 20), (-1, 20), (1, 0), (1, 101)] {
            assert!(
                PageRequest::new(page, per_page).is_err(),
                "{page} {per_page}"
            );
        }
    }
}
