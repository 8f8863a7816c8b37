//! Bank details and withdrawals (contract, section 6).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::wallet::v1::{
    GetBankDetailsRequest, ListWithdrawalsRequest, MaskedBankDetails, SetBankDetailsRequest,
    WithdrawRequest, WithdrawResponse, Withdrawal,
};
use utoipa::ToSchema;

use crate::clients::WalletClient;
use crate::extract::{IdempotencyKey, Json, ListenerUser, Query, missing_field_error};
use crate::number::{DecimalNumber, Hundredths};
use crate::openapi::values::WithdrawalStatus;
use crate::paging::{PageQuery, Pagination};
use crate::problem::Result;
use crate::recent_login::RecentLoginRule;
use crate::routes::time;
use crate::token::CurrentUser;

/// The bank account, either as an object or as fields of the body.
#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct BankDetailsBody {
    #[serde(default)]
    payout_account: Option<PayoutAccount>,
    #[serde(default)]
    account_holder_name: Option<String>,
    #[serde(default)]
    #[schema(pattern = "^[0-9]{9,18}$")]
    account_number: Option<String>,
    #[serde(default)]
    #[schema(pattern = "^[A-Z]{4}0[A-Z0-9]{6}$")]
    ifsc_code: Option<String>,
    #[serde(default)]
    bank_name: Option<String>,
}

#[derive(eserde::Deserialize, ToSchema)]
struct PayoutAccount {
    account_holder_name: String,
    #[schema(pattern = "^[0-9]{9,18}$")]
    account_number: String,
    #[schema(pattern = "^[A-Z]{4}0[A-Z0-9]{6}$")]
    ifsc_code: String,
    #[serde(default)]
    bank_name: Option<String>,
}

impl BankDetailsBody {
    fn account(self) -> Result<PayoutAccount, Error> {
        if let Some(account) = self.payout_account {
            return Ok(account);
        }
        let require_field =
            |field: Option<String>, name| field.ok_or_else(|| missing_field_error(name));
        Ok(PayoutAccount {
            account_holder_name: require_field(self.account_holder_name, "account_holder_name")?,
            account_number: require_field(self.account_number, "account_number")?,
            ifsc_code: require_field(self.ifsc_code, "ifsc_code")?,
            bank_name: self.bank_name,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = BankDetailsSaved)]
pub(in crate::routes) struct BankDetailsConfirmation {
    has_bank_details: bool,
    message: &'static str,
}

/// Set the current user's bank details.
///
/// A change of the details delays payouts for one day. The operator may delay them after the first details as well, and
/// may require a login within the last minutes (`recent_login_required`).
#[utoipa::path(
    put,
    path = "/wallet/bank-details",
    tag = "wallet",
    security(("access_token" = [])),
    responses(
        (status = 200, body = BankDetailsConfirmation),
        (status = 400, description = "invalid_bank_details"),
        (status = 403, description = "recent_login_required"),
    )
)]
pub(in crate::routes) async fn set_bank_details(
    State(mut wallet): State<WalletClient>,
    State(recent_login): State<RecentLoginRule>,
    current_user: CurrentUser,
    Json(body): Json<BankDetailsBody>,
) -> Result<Json<BankDetailsConfirmation>> {
    recent_login.check(&current_user)?;
    let account = body.account()?;
    let request = SetBankDetailsRequest {
        user_id: current_user.user_id,
        account_holder_name: account.account_holder_name,
        account_number: account.account_number,
        ifsc_code: account.ifsc_code,
        bank_name: account.bank_name,
    };
    wallet.set_bank_details(request).await?;
    Ok(Json(BankDetailsConfirmation {
        has_bank_details: true,
        message: "Bank details saved",
    }))
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct BankDetailsAnswer {
    has_bank_details: bool,
    message: &'static str,
    account_holder_name: Option<String>,
    ifsc_code: Option<String>,
    /// Only the last four digits are visible.
    account_number: Option<String>,
    bank_name: Option<String>,
}

impl From<Option<MaskedBankDetails>> for BankDetailsAnswer {
    fn from(details: Option<MaskedBankDetails>) -> Self {
        let has_bank_details = details.is_some();
        let details = details.unwrap_or_default();
        let if_present = |text: String| has_bank_details.then_some(text);
        Self {
            has_bank_details,
            message: if has_bank_details {
                "Bank details are on file"
            } else {
                "There are no bank details yet"
            },
            account_holder_name: if_present(details.account_holder_name),
            ifsc_code: if_present(details.ifsc_code),
            account_number: if_present(details.masked_account_number),
            bank_name: details.bank_name,
        }
    }
}

/// Read the current user's bank details.
///
/// The account number is masked.
#[utoipa::path(
    get,
    path = "/wallet/bank-details",
    tag = "wallet",
    security(("access_token" = [])),
    responses((status = 200, body = BankDetailsAnswer))
)]
pub(in crate::routes) async fn read_bank_details(
    State(wallet): State<WalletClient>,
    current_user: CurrentUser,
) -> Result<Json<BankDetailsAnswer>> {
    let user_id = current_user.user_id;
    let found = retry_idempotent(
        &wallet,
        WalletClient::get_bank_details,
        GetBankDetailsRequest { user_id },
    )
    .await?;
    Ok(Json(found.details.into()))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct WithdrawBody {
    /// The amount in rupees, with at most two decimals.
    #[eserde(compat)]
    #[schema(example = 100.5)]
    amount: DecimalNumber,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct WithdrawAnswer {
    transaction_id: i64,
    withdrawal_id: i64,
    amount: Hundredths,
    #[schema(value_type = WithdrawalStatus)]
    status: &'static str,
    message: &'static str,
    created_at: Option<DateTime<Utc>>,
}

impl From<WithdrawResponse> for WithdrawAnswer {
    fn from(held: WithdrawResponse) -> Self {
        Self {
            transaction_id: held.transaction_id,
            withdrawal_id: held.withdrawal_id,
            amount: Hundredths(held.amount_paise),
            status: "pending",
            message: "The withdrawal is requested",
            created_at: time(held.created_at),
        }
    }
}

/// Request a withdrawal.
///
/// The amount leaves the balance at once. It is returned if the withdrawal is rejected.
#[utoipa::path(
    post,
    path = "/wallet/withdraw",
    tag = "wallet",
    security(("access_token" = ["listener"])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = WithdrawAnswer),
        (status = 400, description = "invalid_amount, out_of_range, insufficient_money, earnings_held, no_bank_details, below_minimum, above_daily_limit, invalid_idempotency_key"),
        (status = 403, description = "recent_login_required"),
        (status = 409, description = "idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
pub(in crate::routes) async fn request_withdrawal(
    State(mut wallet): State<WalletClient>,
    State(recent_login): State<RecentLoginRule>,
    ListenerUser(current_user): ListenerUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<WithdrawBody>,
) -> Result<Json<WithdrawAnswer>> {
    recent_login.check(&current_user)?;
    let request = WithdrawRequest {
        user_id: current_user.user_id,
        amount_paise: body.amount.hundredths().ok_or_else(invalid_amount)?,
        idempotency_key,
    };
    let held = wallet.withdraw(request).await?.into_inner();
    Ok(Json(held.into()))
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct WithdrawalsAnswer {
    withdrawals: Vec<WithdrawalBody>,
    total_withdrawn: Hundredths,
    pending_amount: Hundredths,
    #[serde(flatten)]
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
pub(super) struct WithdrawalBody {
    withdrawal_id: i64,
    transaction_id: i64,
    amount: Hundredths,
    #[schema(value_type = WithdrawalStatus)]
    pub(super) status: String,
    created_at: Option<DateTime<Utc>>,
    processed_at: Option<DateTime<Utc>>,
}

impl From<Withdrawal> for WithdrawalBody {
    fn from(withdrawal: Withdrawal) -> Self {
        Self {
            withdrawal_id: withdrawal.withdrawal_id,
            transaction_id: withdrawal.transaction_id,
            amount: Hundredths(withdrawal.amount_paise),
            status: withdrawal.status,
            created_at: time(withdrawal.created_at),
            processed_at: time(withdrawal.processed_at),
        }
    }
}

/// List the current user's withdrawals, newest first.
#[utoipa::path(
    get,
    path = "/wallet/withdrawals",
    tag = "wallet",
    security(("access_token" = [])),
    params(PageQuery),
    responses((status = 200, body = WithdrawalsAnswer))
)]
pub(in crate::routes) async fn list_withdrawals(
    State(wallet): State<WalletClient>,
    current_user: CurrentUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<WithdrawalsAnswer>> {
    let page = query.page()?;
    let request = ListWithdrawalsRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
    };
    let found = retry_idempotent(&wallet, WalletClient::list_withdrawals, request).await?;
    Ok(Json(WithdrawalsAnswer {
        withdrawals: found.withdrawals.into_iter().map(Into::into).collect(),
        total_withdrawn: Hundredths(found.total_withdrawn_paise),
        pending_amount: Hundredths(found.pending_paise),
        pagination: page.with_total(found.total),
    }))
}

fn invalid_amount() -> Error {
    Error::invalid(
        "invalid_amount",
        "amount must be an amount in rupees with at most two decimals.",
    )
}
