//! The filters and the order of the feed (contract, section 5).

use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_proto::profile::v1::{ListListenersRequest, ListenerSort};
use utoipa::{IntoParams, ToSchema};

use crate::call_names;
use crate::number::{DecimalNumber, Hundredths};
use crate::openapi::values::{CallType, Sex};
use crate::paging::ClientPageRequest;

const RATING_MIN: Hundredths = Hundredths(0);
const RATING_MAX: Hundredths = Hundredths(500);
const INTERESTS_MAX: usize = 10;
pub(super) const SEXES: [&str; 3] = ["male", "female", "other"];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListenerFeedQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    /// The `next_cursor` of the previous page, for distant pages.
    pub(super) cursor: Option<String>,
    /// List only listeners who are online.
    #[serde(default)]
    online_only: bool,
    /// List only listeners who can be called now.
    #[serde(default)]
    available_only: bool,
    /// List only listeners who take calls of this type.
    #[param(value_type = Option<CallType>, inline)]
    call_type: Option<String>,
    /// List only listeners of this sex.
    #[param(value_type = Option<Sex>, inline)]
    sex: Option<String>,
    /// The lowest rating, from 0.0 to 5.0. The default is 0.0.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 5)]
    min_rating: Option<String>,
    /// The highest rating, from 0.0 to 5.0. The default is 5.0.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 5)]
    max_rating: Option<String>,
    /// Up to 10 interests, separated by commas, of which a listener has at least one. Case is ignored.
    #[param(example = "music,films")]
    interests: Option<String>,
    /// A language tag. Case is ignored, and `hi` also finds `hi-IN`.
    #[param(example = "en")]
    language: Option<String>,
    /// The beginning of the user name. Case is ignored.
    #[param(max_length = 50, example = "ash")]
    q: Option<String>,
    /// The order of the list: by rating (the default), online listeners first, or by `last_seen` (`recent`).
    #[param(value_type = Option<SortBy>, inline)]
    sort_by: Option<String>,
    /// The default is `desc`.
    #[param(value_type = Option<SortOrder>, inline)]
    sort_order: Option<String>,
}

/// The filters and the order of the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FeedFilters {
    online_only: bool,
    available_only: bool,
    #[schema(value_type = Option<CallType>)]
    call_type: Option<String>,
    #[schema(value_type = Option<Sex>)]
    sex: Option<String>,
    /// 0.0 by default.
    min_rating: Hundredths,
    /// 5.0 by default.
    max_rating: Hundredths,
    interests: Vec<String>,
    language: Option<String>,
    q: Option<String>,
    sort_by: SortBy,
    sort_order: SortOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SortBy {
    Rating,
    Online,
    Recent,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SortOrder {
    Asc,
    Desc,
}

impl ListenerFeedQuery {
    pub(super) fn page(&self) -> Result<ClientPageRequest, Error> {
        ClientPageRequest::new(self.page, self.per_page)
    }

    pub(super) fn filters(&self) -> Result<FeedFilters, Error> {
        Ok(FeedFilters {
            online_only: self.online_only,
            available_only: self.available_only,
            call_type: parse_call_type(self.call_type.as_deref())?,
            sex: parse_sex(self.sex.as_deref())?,
            min_rating: parse_rating(self.min_rating.as_deref())?.unwrap_or(RATING_MIN),
            max_rating: parse_rating(self.max_rating.as_deref())?.unwrap_or(RATING_MAX),
            interests: parse_interests(self.interests.as_deref())?,
            language: self.language.clone(),
            q: self.q.clone(),
            sort_by: parse_sort_by(self.sort_by.as_deref())?,
            sort_order: parse_sort_order(self.sort_order.as_deref())?,
        })
    }
}

fn parse_sex(text: Option<&str>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if !SEXES.contains(&text) => Err(Error::invalid(
            "invalid_sex",
            "sex must be male, female or other.",
        )),
        known => Ok(known.map(str::to_owned)),
    }
}

fn parse_call_type(text: Option<&str>) -> Result<Option<String>, Error> {
    if let Some(text) = text {
        call_names::parse_call_type(text)?;
    }
    Ok(text.map(str::to_owned))
}

fn parse_rating(text: Option<&str>) -> Result<Option<Hundredths>, Error> {
    let Some(text) = text else { return Ok(None) };
    DecimalNumber::parse(text)
        .and_then(|number| number.hundredths())
        .filter(|rating| (RATING_MIN.0..=RATING_MAX.0).contains(rating))
        .map(|rating| Some(Hundredths(rating)))
        .ok_or_else(|| Error::invalid("invalid_rating", "Ratings are 0.0 to 5.0."))
}

fn parse_interests(text: Option<&str>) -> Result<Vec<String>, Error> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    let names: Vec<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.len() > INTERESTS_MAX {
        return Err(Error::invalid(
            "invalid_interests",
            "At most 10 interests are allowed.",
        ));
    }
    Ok(names)
}

fn parse_sort_by(text: Option<&str>) -> Result<SortBy, Error> {
    match text.unwrap_or("rating") {
        "rating" => Ok(SortBy::Rating),
        "online" => Ok(SortBy::Online),
        "recent" => Ok(SortBy::Recent),
        _ => Err(Error::invalid(
            "invalid_sort_by",
            "sort_by must be rating, online or recent.",
        )),
    }
}

fn parse_sort_order(text: Option<&str>) -> Result<SortOrder, Error> {
    match text.unwrap_or("desc") {
        "asc" => Ok(SortOrder::Asc),
        "desc" => Ok(SortOrder::Desc),
        _ => Err(Error::invalid(
            "invalid_sort_order",
            "sort_order must be asc or desc.",
        )),
    }
}

impl From<SortBy> for ListenerSort {
    fn from(sort: SortBy) -> Self {
        match sort {
            SortBy::Rating => Self::Rating,
            SortBy::Online => Self::Online,
            SortBy::Recent => Self::Recent,
        }
    }
}

/// Returns a bound for the request, unless it is the default, which excludes nobody.
fn rating_bound(bound: Hundredths, default: Hundredths) -> Option<i32> {
    let bound = Some(bound).filter(|bound| *bound != default)?;
    i32::try_from(bound.0).ok()
}

impl FeedFilters {
    pub(super) fn to_request(
        &self,
        viewer_id: i64,
        page: ClientPageRequest,
        cursor: Option<String>,
    ) -> ListListenersRequest {
        ListListenersRequest {
            viewer_id,
            page: page.page,
            per_page: page.per_page,
            online_only: self.online_only,
            available_only: self.available_only,
            sex: self.sex.clone(),
            min_rating_hundredths: rating_bound(self.min_rating, RATING_MIN),
            max_rating_hundredths: rating_bound(self.max_rating, RATING_MAX),
            interests: self.interests.clone(),
            language: self.language.clone(),
            sort_by: ListenerSort::from(self.sort_by).into(),
            ascending: self.sort_order == SortOrder::Asc,
            cursor,
            call_type: self.call_type.clone(),
            username_prefix: self.q.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Error>) -> Option<String> {
        result.err().map(|error| error.code().to_owned())
    }

    #[test]
    fn unknown_values_are_refused() {
        assert_eq!(
            code(parse_sex(Some("robot"))).as_deref(),
            Some("invalid_sex")
        );
        assert_eq!(
            code(parse_sort_by(Some("age"))).as_deref(),
            Some("invalid_sort_by")
        );
        assert_eq!(
            code(parse_sort_order(Some("up"))).as_deref(),
            Some("invalid_sort_order")
        );
        for text in ["5.01", "-1", "many", "4.555"] {
            assert_eq!(
                code(parse_rating(Some(text))).as_deref(),
                Some("invalid_rating")
            );
        }
        let eleven = ["music"; INTERESTS_MAX + 1].join(",");
        assert_eq!(
            code(parse_interests(Some(&eleven))).as_deref(),
            Some("invalid_interests")
        );
    }

    #[test]
    fn missing_values_have_defaults() {
        assert_eq!(parse_sort_by(None).ok(), Some(SortBy::Rating));
        assert_eq!(parse_sort_order(None).ok(), Some(SortOrder::Desc));
        assert_eq!(parse_rating(None).ok(), Some(None));
        assert_eq!(parse_rating(Some("4.5")).ok(), Some(Some(Hundredths(450))));
        assert_eq!(
            parse_interests(Some("music, ,films")).ok(),
            Some(vec!["music".to_owned(), "films".to_owned()])
        );
    }

    #[test]
    fn default_ratings_are_no_filter() {
        assert_eq!(rating_bound(RATING_MIN, RATING_MIN), None);
        assert_eq!(rating_bound(RATING_MAX, RATING_MIN), Some(500));
        assert_eq!(rating_bound(RATING_MAX, RATING_MAX), None);
    }
}
