//! Coins and rupees (contract, sections 6 and 7).

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::wallet::v1::{Balance, GetBalanceRequest, RechargeRequest, RechargeResponse};

use crate::app::Wallet;
use crate::extract::{IdempotencyKey, Json};
use crate::number::{Hundredths, Number};
use crate::problem::Result;
use crate::token::Caller;

#[derive(Serialize)]
pub(super) struct BalanceAnswer {
    user_id: i64,
    balance_coins: i64,
    withdrawable_money: Hundredths,
    total_earned: Hundredths,
    total_withdrawn: Hundredths,
    pending_withdrawals: Hundredths,
}

impl From<Balance> for BalanceAnswer {
    fn from(balance: Balance) -> Self {
        Self {
            user_id: balance.user_id,
            balance_coins: balance.balance_coins,
            withdrawable_money: Hundredths(balance.withdrawable_paise),
            total_earned: Hundredths(balance.total_earned_paise),
            total_withdrawn: Hundredths(balance.total_withdrawn_paise),
            pending_withdrawals: Hundredths(balance.pending_withdrawals_paise),
        }
    }
}

pub(super) async fn balance(
    State(wallet): State<Wallet>,
    caller: Caller,
) -> Result<Json<BalanceAnswer>> {
    let user_id = caller.user_id;
    let balance = retry_idempotent(|| {
        let mut wallet = wallet.clone();
        async move { wallet.get_balance(GetBalanceRequest { user_id }).await }
    })
    .await?;
    Ok(Json(balance.into()))
}

#[derive(eserde::Deserialize)]
pub(super) struct RechargeBody {
    #[eserde(compat)]
    amount_rupees: Number,
    payment_method: String,
    #[serde(default)]
    payment_id: Option<String>,
}

#[derive(Serialize)]
pub(super) struct RechargeAnswer {
    transaction_id: i64,
    amount_rupees: Hundredths,
    coins_added: i64,
    new_balance: i64,
    message: &'static str,
}

impl From<RechargeResponse> for RechargeAnswer {
    fn from(recharge: RechargeResponse) -> Self {
        Self {
            transaction_id: recharge.transaction_id,
            amount_rupees: Hundredths(recharge.amount_paise),
            coins_added: recharge.coins_added,
            new_balance: recharge.balance_coins,
            message: "Coins added",
        }
    }
}

pub(super) async fn recharge(
    State(mut wallet): State<Wallet>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<RechargeBody>,
) -> Result<Json<RechargeAnswer>> {
    let request = RechargeRequest {
        user_id: caller.user_id,
        amount_paise: body.amount_rupees.hundredths().ok_or_else(no_sum)?,
        payment_method: body.payment_method,
        payment_id: body.payment_id,
        idempotency_key,
    };
    let recharge = wallet.recharge(request).await?.into_inner();
    Ok(Json(recharge.into()))
}

fn no_sum() -> Error {
    Error::invalid(
        "invalid_amount",
        "amount_rupees must be a sum of rupees with at most two decimals.",
    )
}
