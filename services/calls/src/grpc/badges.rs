//! Converts badges between the wire and the domain.

use chrono::NaiveDate;
use talktime_proto::calls::v1 as wire;
use talktime_proto::timestamp;

use super::convert::minute_rate;
use crate::badges::{
    BadgeAssignmentCounts, BadgeRangeFigures, BadgeStatistics, ListenerBadgeProgress,
    ListenerDayBadge,
};
use crate::domain::badge::BadgeError;
use crate::listener_card::ListenerCard;

/// Parses an optional date of a request.
pub(super) fn parse_date(text: Option<String>) -> Result<Option<NaiveDate>, BadgeError> {
    let date = text.map(|text| text.parse().map_err(|_| BadgeError::BadDate));
    date.transpose()
}

pub(super) fn badge(given: ListenerDayBadge) -> wire::Badge {
    wire::Badge {
        listener_id: given.listener_id,
        date: given.date.to_string(),
        badge: given.badge.name().to_owned(),
        audio_paise_per_minute: given.audio_paise_per_minute,
        video_paise_per_minute: given.video_paise_per_minute,
        assigned_at: Some(timestamp(given.assigned_at)),
    }
}

pub(super) fn standing_response(standing: ListenerBadgeProgress) -> wire::GetStandingResponse {
    let hours = standing.next_threshold_hours;
    wire::GetStandingResponse {
        badge: Some(badge(standing.badge)),
        yesterday_secs: standing.yesterday_secs,
        next_threshold_hours: hours.map(|hours| i32::try_from(hours).unwrap_or(i32::MAX)),
    }
}

pub(super) fn listener_card(card: ListenerCard) -> wire::ListenerCard {
    wire::ListenerCard {
        badge: card.badge.name().to_owned(),
        ratings_by_stars: card.ratings_by_stars,
        audio: Some(minute_rate(card.audio)),
        video: Some(minute_rate(card.video)),
        refusal_code: card.refusal_code,
    }
}

pub(super) fn statistics_response(statistics: BadgeStatistics) -> wire::GetBadgeStatisticsResponse {
    wire::GetBadgeStatisticsResponse {
        counts: statistics.counts.into_iter().map(badge_count).collect(),
        total_listeners: statistics.listeners,
        first_date: statistics.range.first.to_string(),
        last_date: statistics.range.last.to_string(),
    }
}

fn badge_count(count: BadgeRangeFigures) -> wire::BadgeCount {
    wire::BadgeCount {
        badge: count.badge.name().to_owned(),
        count: count.count,
        avg_audio_paise: count.avg_audio_paise,
        avg_video_paise: count.avg_video_paise,
    }
}

pub(super) fn assign_response(given: BadgeAssignmentCounts) -> wire::AssignBadgesResponse {
    let [basic, bronze, silver, gold] = given.counts;
    wire::AssignBadgesResponse {
        date: given.date.to_string(),
        basic,
        bronze,
        silver,
        gold,
    }
}
