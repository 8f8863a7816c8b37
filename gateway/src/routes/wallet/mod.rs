//! Coins and rupees (contract, sections 6, 7 and 9).

pub(super) mod earning_summary;
pub(super) mod payout_reviews;
pub(super) mod payouts;
pub(super) mod purchases;
pub(super) mod statements;

use axum::extract::State;
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::wallet::v1::{Balance, GetBalanceRequest};
use utoipa::ToSchema;

use crate::clients::WalletClient;
use crate::extract::Json;
use crate::number::Hundredths;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct BalanceAnswer {
    user_id: i64,
    balance_coins: i64,
    /// The part of `balance_coins` that was given and not bought. Calls spend it first.
    bonus_coins: i64,
    /// The rupees that belong to a listener.
    withdrawable_money: Hundredths,
    /// The part of them that can be withdrawn now.
    available_money: Hundredths,
    /// The part of them that can be withdrawn later: earnings of the last days, if the operator holds them for some hours,
    /// and earnings from payments that are disputed.
    held_money: Hundredths,
    /// The rupees that a listener has earned.
    total_earned: Hundredths,
    /// The rupees that were paid out.
    total_withdrawn: Hundredths,
    /// The rupees of withdrawals that are not decided yet.
    pending_withdrawals: Hundredths,
}

impl From<Balance> for BalanceAnswer {
    fn from(balance: Balance) -> Self {
        Self {
            user_id: balance.user_id,
            balance_coins: balance.balance_coins,
            bonus_coins: balance.bonus_coins,
            withdrawable_money: Hundredths(balance.withdrawable_paise),
            available_money: Hundredths(balance.withdrawable_paise - balance.held_paise),
            held_money: Hundredths(balance.held_paise),
            total_earned: Hundredths(balance.total_earned_paise),
            total_withdrawn: Hundredths(balance.total_withdrawn_paise),
            pending_withdrawals: Hundredths(balance.pending_withdrawals_paise),
        }
    }
}

/// Refuses the deletion of a user while a withdrawal is in progress. A withdrawal that is requested between this check
/// and the deletion is not lost: the wallet keeps it until it is decided.
pub(super) async fn check_no_payout_in_progress(
    wallet: &WalletClient,
    user_id: i64,
) -> Result<(), Error> {
    let balance = load_balance(wallet, user_id).await?;
    if balance.pending_withdrawals_paise > 0 {
        return Err(Error::new(
            ErrorKind::Conflict,
            "payout_in_progress",
            "A withdrawal is in progress. Delete your account once it is paid or rejected.",
        ));
    }
    Ok(())
}

async fn load_balance(wallet: &WalletClient, user_id: i64) -> Result<Balance, Error> {
    retry_idempotent(
        wallet,
        WalletClient::get_balance,
        GetBalanceRequest { user_id },
    )
    .await
}

/// Read the current user's balance of coins and rupees.
#[utoipa::path(
    get,
    path = "/wallet/balance",
    tag = "wallet",
    security(("access_token" = [])),
    responses((status = 200, body = BalanceAnswer))
)]
pub(super) async fn read_balance(
    State(wallet): State<WalletClient>,
    current_user: CurrentUser,
) -> Result<Json<BalanceAnswer>> {
    let balance = load_balance(&wallet, current_user.user_id).await?;
    Ok(Json(balance.into()))
}
