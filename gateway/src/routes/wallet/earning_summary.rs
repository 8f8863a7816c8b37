//! Earnings of a listener by day.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::wallet::v1::{
    EarningDay, EarningSummary, EarningSums, GetEarningSummaryRequest,
};
use utoipa::{IntoParams, ToSchema};

use crate::clients::WalletClient;
use crate::extract::{Json, ListenerUser, Query};
use crate::problem::Result;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::routes) struct EarningSummaryQuery {
    /// The first day; without it, six days before the last.
    #[param(format = Date, example = "2026-11-20")]
    from: Option<String>,
    /// The last day; without it, today in India.
    #[param(format = Date, example = "2026-11-26")]
    to: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct EarningSummaryAnswer {
    /// Every day of the range, oldest first, also those without calls.
    days: Vec<EarningDayBody>,
    today: EarningSumsBody,
    /// From Monday to today.
    week: EarningSumsBody,
    /// From the first of the month to today.
    month: EarningSumsBody,
}

#[derive(Serialize, ToSchema)]
struct EarningDayBody {
    #[schema(format = Date)]
    date: String,
    #[serde(flatten)]
    totals: EarningSumsBody,
}

#[derive(Serialize, ToSchema)]
struct EarningSumsBody {
    calls: i64,
    /// Minutes that callers paid.
    minutes: i64,
    /// Coins that callers paid.
    coins: i64,
    /// Paise that the listener earned.
    paise: i64,
}

impl From<EarningSums> for EarningSumsBody {
    fn from(sums: EarningSums) -> Self {
        Self {
            calls: sums.calls,
            minutes: sums.minutes,
            coins: sums.coins,
            paise: sums.paise,
        }
    }
}

impl From<EarningDay> for EarningDayBody {
    fn from(day: EarningDay) -> Self {
        Self {
            date: day.date,
            totals: day.totals.unwrap_or_default().into(),
        }
    }
}

impl From<EarningSummary> for EarningSummaryAnswer {
    fn from(summary: EarningSummary) -> Self {
        Self {
            days: summary.days.into_iter().map(Into::into).collect(),
            today: summary.today.unwrap_or_default().into(),
            week: summary.week.unwrap_or_default().into(),
            month: summary.month.unwrap_or_default().into(),
        }
    }
}

/// Read the current listener's earnings by day, and the sums of today, this week and this month.
///
/// Days are those of India, at most 92 of them. A call counts on the day on which it was settled.
#[utoipa::path(
    get,
    path = "/wallet/earnings/summary",
    tag = "wallet",
    security(("access_token" = ["listener"])),
    params(EarningSummaryQuery),
    responses(
        (status = 200, body = EarningSummaryAnswer),
        (status = 400, description = "invalid_date_range"),
    )
)]
pub(in crate::routes) async fn read_earning_summary(
    State(wallet): State<WalletClient>,
    ListenerUser(current_user): ListenerUser,
    Query(query): Query<EarningSummaryQuery>,
) -> Result<Json<EarningSummaryAnswer>> {
    let request = GetEarningSummaryRequest {
        listener_id: current_user.user_id,
        from_date: query.from,
        to_date: query.to,
    };
    let summary = retry_idempotent(&wallet, WalletClient::get_earning_summary, request).await?;
    Ok(Json(summary.into()))
}
