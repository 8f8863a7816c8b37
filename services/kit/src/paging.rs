//! Pages of lists (contract, section 1).

use crate::error::Error;

const PER_PAGE_MAX: i32 = 100;

/// A request for one page of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListPageRequest {
    page: i32,
    per_page: i32,
}

impl ListPageRequest {
    /// Returns the request for the page `page`, from 1, of `per_page` entries, 1 to 100.
    ///
    /// # Errors
    /// A number is out of range.
    pub fn new(page: i32, per_page: i32) -> Result<Self, Error> {
        if page >= 1 && (1..=PER_PAGE_MAX).contains(&per_page) {
            Ok(Self { page, per_page })
        } else {
            let detail = format!("page must be 1 or more, per_page 1 to {PER_PAGE_MAX}.");
            Err(Error::invalid("invalid_page", detail))
        }
    }

    /// Returns the number of entries before the page.
    pub fn offset(self) -> i64 {
        (i64::from(self.page) - 1) * i64::from(self.per_page)
    }

    /// Returns the greatest number of entries on the page.
    pub fn limit(self) -> i64 {
        self.per_page.into()
    }
}

/// A page of a list, with the number of entries on all pages.
#[derive(Clone, Debug)]
pub struct ListPage<T> {
    /// The entries of the page.
    pub entries: Vec<T>,
    /// The number of entries on all pages.
    pub total: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded() {
        let last = ListPageRequest::new(i32::MAX, 100).expect("a page");
        assert_eq!((last.limit(), last.offset()), (100, 214_748_364_600));
        for (page, per_page) in [(0, 20), (-1, 20), (1, 0), (1, 101)] {
            let refused = ListPageRequest::new(page, per_page).expect_err("out of range");
            assert_eq!(refused.code(), "invalid_page", "{page} {per_page}");
        }
    }
}
