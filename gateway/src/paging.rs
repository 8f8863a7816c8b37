//! Pages of a list (contract, section 1).

use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use utoipa::{IntoParams, ToSchema};

const PER_PAGE_DEFAULT: i32 = 20;
const PER_PAGE_MAX: i64 = 100;

/// The page of a list that a client requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientPageRequest {
    /// From 1.
    pub page: i32,
    /// From 1 to 100.
    pub per_page: i32,
}

/// The position of a page in its list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct Pagination {
    /// The number of the page, from 1.
    pub page: i32,
    /// The maximum number of entries on a page, from 1 to 100.
    pub per_page: i32,
    /// The number of entries on all pages.
    pub total: i64,
    /// Whether there is a next page.
    pub has_next: bool,
    /// Whether there is a previous page.
    pub has_previous: bool,
}

/// The query parameters of a list without filters.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The number of the page, from 1. The default is 1.
    #[param(minimum = 1)]
    page: Option<i64>,
    /// The maximum number of entries on a page. The default is 20.
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
}

impl PageQuery {
    /// Validates the parameters.
    pub fn page(self) -> Result<ClientPageRequest, Error> {
        ClientPageRequest::new(self.page, self.per_page)
    }
}

impl ClientPageRequest {
    /// Validates the query parameters `page` and `per_page`. A value out of range is an error and is never replaced by
    /// another page.
    pub fn new(page: Option<i64>, per_page: Option<i64>) -> Result<Self, Error> {
        let page = i32::try_from(page.unwrap_or(1))
            .ok()
            .filter(|page| *page >= 1)
            .ok_or_else(|| Error::invalid("invalid_page", "page must be 1 or more."))?;
        let per_page = match per_page {
            None => PER_PAGE_DEFAULT,
            Some(asked) => i32::try_from(asked)
                .ok()
                .filter(|_| (1..=PER_PAGE_MAX).contains(&asked))
                .ok_or_else(|| Error::invalid("invalid_per_page", "per_page must be 1 to 100."))?,
        };
        Ok(Self { page, per_page })
    }

    /// Returns the position of this page in a list of `total` entries.
    pub fn with_total(self, total: i64) -> Pagination {
        let Self { page, per_page } = self;
        Pagination {
            page,
            per_page,
            total,
            has_next: i64::from(page) * i64::from(per_page) < total,
            has_previous: page > 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_next() {
        let page = |page| ClientPageRequest { page, per_page: 20 };
        assert!(page(1).with_total(21).has_next);
        assert!(!page(2).with_total(21).has_next && page(2).with_total(21).has_previous);
        assert!(!page(1).with_total(20).has_next && !page(1).with_total(0).has_previous);
    }

    #[test]
    fn pages_are_bounded() {
        let code = |page, per_page| {
            ClientPageRequest::new(page, per_page).map_err(|e| e.code().to_owned())
        };
        let first = ClientPageRequest {
            page: 1,
            per_page: 20,
        };
        assert_eq!(code(None, None), Ok(first));
        assert_eq!(code(Some(1), Some(20)), Ok(first));
        assert!(code(Some(7), Some(100)).is_ok());
        for page in [0, -1, i64::MAX] {
            assert_eq!(code(Some(page), None), Err("invalid_page".to_owned()));
        }
        for per_page in [0, -1, 101, i64::MAX] {
            assert_eq!(
                code(None, Some(per_page)),
                Err("invalid_per_page".to_owned())
            );
        }
    }
}
