//! Buying coins (contract, sections 7 and 9).

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_proto::wallet::v1::{RechargeRequest, RechargeResponse};
use utoipa::ToSchema;

use crate::app::Wallet;
use crate::extract::{IdempotencyKey, Json};
use crate::number::{Hundredths, Number};
use crate::openapi::values::PaymentMethod;
use crate::problem::Result;
use crate::token::Caller;

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct RechargeBody {
    /// A step of the rate card.
    #[eserde(compat)]
    #[schema(example = 150)]
    amount_rupees: Number,
    #[schema(value_type = PaymentMethod)]
    payment_method: String,
    #[serde(default)]
    /// Of the payment provider; the sandbox pays by itself without one.
    payment_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct RechargeAnswer {
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

/// Buys coins: a step of the rate card, against a payment.
#[utoipa::path(
    post,
    path = "/calls/recharge",
    tag = "wallet",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = RechargeAnswer),
        (status = 400, description = "invalid_amount, amount_not_on_rate_card, invalid_payment_method, invalid_idempotency_key"),
        (status = 402, description = "payment_not_found"),
        (status = 409, description = "idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
pub(in crate::routes) async fn recharge(
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
