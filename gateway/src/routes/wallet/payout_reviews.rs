//! Decisions of admins on withdrawals.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::wallet::v1::{
    DecideWithdrawalRequest, ReviewWithdrawalsRequest, ReviewedWithdrawal,
};
use utoipa::{IntoParams, ToSchema};

use super::payouts::WithdrawalBody;
use crate::clients::WalletClient;
use crate::extract::{AdminUser, Json, PathId, Query};
use crate::openapi::values::{DecidedStatus, WithdrawalStatus};
use crate::paging::{ClientPageRequest, Pagination};
use crate::problem::Result;
use crate::routes::time;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::routes) struct WithdrawalReviewQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    /// The default is `pending`.
    #[param(value_type = Option<WithdrawalStatus>, inline)]
    status: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReviewAnswer)]
pub(in crate::routes) struct WithdrawalReviewAnswer {
    withdrawals: Vec<ReviewedWithdrawalBody>,
    #[serde(flatten)]
    pagination: Pagination,
}

/// A withdrawal with the data that admins need.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewedBody)]
struct ReviewedWithdrawalBody {
    #[serde(flatten)]
    withdrawal: WithdrawalBody,
    user_id: i64,
    account_holder_name: String,
    account_number: String,
    ifsc_code: String,
    /// The earliest time of the payout.
    payable_at: Option<DateTime<Utc>>,
    /// The ids of the admins who have approved the payout.
    agreed_by: Vec<i64>,
    /// The number of admins who must approve the payout.
    admins_needed: i32,
}

impl From<ReviewedWithdrawal> for ReviewedWithdrawalBody {
    fn from(reviewed: ReviewedWithdrawal) -> Self {
        let withdrawal = reviewed.withdrawal.unwrap_or_default();
        let details = reviewed.details.unwrap_or_default();
        Self {
            user_id: withdrawal.user_id,
            payable_at: time(withdrawal.payable_at),
            withdrawal: withdrawal.into(),
            account_holder_name: details.account_holder_name,
            account_number: details.masked_account_number,
            ifsc_code: details.ifsc_code,
            agreed_by: reviewed.agreed_admin_ids,
            admins_needed: reviewed.admins_needed,
        }
    }
}

/// List the withdrawals of all users with one status, oldest first.
#[utoipa::path(
    get,
    path = "/admin/withdrawals",
    tag = "admin",
    security(("access_token" = ["admin"])),
    params(WithdrawalReviewQuery),
    responses(
        (status = 200, body = WithdrawalReviewAnswer),
        (status = 400, description = "invalid_status"),
    )
)]
pub(in crate::routes) async fn list_all_withdrawals(
    State(wallet): State<WalletClient>,
    _admin: AdminUser,
    Query(query): Query<WithdrawalReviewQuery>,
) -> Result<Json<WithdrawalReviewAnswer>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let request = ReviewWithdrawalsRequest {
        status: query.status.unwrap_or_else(|| "pending".to_owned()),
        page: page.page,
        per_page: page.per_page,
    };
    let found = retry_idempotent(&wallet, WalletClient::review_withdrawals, request).await?;
    Ok(Json(WithdrawalReviewAnswer {
        pagination: page.with_total(found.total),
        withdrawals: found.withdrawals.into_iter().map(Into::into).collect(),
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = DecideBody)]
pub(in crate::routes) struct WithdrawalDecisionBody {
    /// The new status.
    #[schema(value_type = DecidedStatus)]
    status: String,
    /// A note for other admins. At most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    notes: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DecideAnswer)]
pub(in crate::routes) struct WithdrawalDecisionAnswer {
    #[serde(flatten)]
    withdrawal: ReviewedWithdrawalBody,
    message: String,
}

/// Decide on a withdrawal.
///
/// The status only moves forward (`withdrawal_decided`). If its listener requests a large sum within 24 hours, a
/// withdrawal is paid once two admins have approved it.
#[utoipa::path(
    post,
    path = "/admin/withdrawals/{withdrawal_id}/decide",
    tag = "admin",
    security(("access_token" = ["admin"])),
    params(("withdrawal_id" = i64, Path)),
    responses(
        (status = 200, body = WithdrawalDecisionAnswer),
        (status = 400, description = "invalid_status, out_of_range"),
        (status = 403, description = "own_withdrawal"),
        (status = 404, description = "no_such_withdrawal"),
        (status = 409, description = "withdrawal_decided, payout_delayed"),
    )
)]
pub(in crate::routes) async fn decide_withdrawal(
    State(mut wallet): State<WalletClient>,
    AdminUser(admin): AdminUser,
    PathId(withdrawal_id): PathId,
    Json(body): Json<WithdrawalDecisionBody>,
) -> Result<Json<WithdrawalDecisionAnswer>> {
    let request = DecideWithdrawalRequest {
        withdrawal_id,
        admin_id: admin.user_id,
        status: body.status.clone(),
        notes: body.notes,
    };
    let decided = wallet.decide_withdrawal(request).await?.into_inner();
    let withdrawal = ReviewedWithdrawalBody::from(decided);
    let status = &withdrawal.withdrawal.status;
    let message = if *status == body.status {
        format!("The withdrawal is {status}")
    } else {
        "Another admin must approve it".to_owned()
    };
    Ok(Json(WithdrawalDecisionAnswer {
        withdrawal,
        message,
    }))
}
