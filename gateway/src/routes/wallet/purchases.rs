//! Purchases of coins (contract, sections 6, 7 and 9).

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Serialize;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::wallet::v1::{
    AddCoinsRequest, GiveCoinsRequest, OpenOrderRequest, OpenOrderResponse, RazorpayProof,
    ReceivePaymentNoticeRequest, RechargeRequest, RechargeResponse,
};
use utoipa::ToSchema;

use crate::clients::{ProfileClient, WalletClient};
use crate::extract::{IdempotencyKey, Json, RawBody, is_admin};
use crate::number::{DecimalNumber, Hundredths};
use crate::openapi::values::{AddedTxType, PaymentMethod};
use crate::problem::Result;
use crate::routes::{Message, time};
use crate::token::CurrentUser;

const PAYMENT_METHOD_DEFAULT: &str = "upi";
const PURCHASE: &str = "purchase";
const GIFTS: [&str; 2] = ["bonus", "referral_bonus"];
const SIGNATURE: &str = "x-razorpay-signature";
const EVENT_ID: &str = "x-razorpay-event-id";

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct RechargeBody {
    /// One of the amounts in `recharge_options` of `/calls/rates`, in rupees.
    #[eserde(compat)]
    #[schema(example = 150)]
    amount_rupees: DecimalNumber,
    /// `upi` by default.
    #[serde(default)]
    #[schema(value_type = Option<PaymentMethod>)]
    payment_method: Option<String>,
    /// A payment of the sandbox. Without one, the sandbox pays by itself.
    #[serde(default)]
    payment_id: Option<String>,
    /// The first part of the proof that the checkout of Razorpay returns. All three parts are required together.
    #[serde(default)]
    razorpay_order_id: Option<String>,
    /// The second part of the proof.
    #[serde(default)]
    razorpay_payment_id: Option<String>,
    /// The third part of the proof.
    #[serde(default)]
    razorpay_signature: Option<String>,
}

/// Combines the three parts of the proof. Either all of them are present or none.
fn razorpay_proof(
    order_id: Option<String>,
    payment_id: Option<String>,
    signature: Option<String>,
) -> Result<Option<RazorpayProof>, Error> {
    match (order_id, payment_id, signature) {
        (None, None, None) => Ok(None),
        (Some(order_id), Some(payment_id), Some(signature)) => Ok(Some(RazorpayProof {
            order_id,
            payment_id,
            signature,
        })),
        _ => Err(Error::invalid(
            "incomplete_payment_proof",
            "razorpay_order_id, razorpay_payment_id and razorpay_signature belong together.",
        )),
    }
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

/// Buy coins.
///
/// The coins are added once the payment provider reports the payment as captured. Until then the answer is 402
/// (`payment_pending`). Repeat the request every few seconds, or wait: the coins are added in either case.
#[utoipa::path(
    post,
    path = "/calls/recharge",
    tag = "wallet",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = RechargeAnswer),
        (status = 400, description = "invalid_amount, amount_not_on_rate_card, invalid_payment_method, incomplete_payment_proof, payment_for_something_else, invalid_idempotency_key"),
        (status = 402, description = "payment_not_found, payment_pending, payment_failed, payment_mismatch"),
        (status = 409, description = "order_already_paid, payment_reversed, idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
pub(in crate::routes) async fn buy_coins(
    State(mut wallet): State<WalletClient>,
    current_user: CurrentUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<RechargeBody>,
) -> Result<Json<RechargeAnswer>> {
    let request = RechargeRequest {
        user_id: current_user.user_id,
        amount_paise: body.amount_rupees.hundredths().ok_or_else(invalid_amount)?,
        payment_method: body
            .payment_method
            .unwrap_or_else(|| PAYMENT_METHOD_DEFAULT.to_owned()),
        payment_id: body.payment_id,
        razorpay: razorpay_proof(
            body.razorpay_order_id,
            body.razorpay_payment_id,
            body.razorpay_signature,
        )?,
        idempotency_key,
    };
    let recharge = wallet.recharge(request).await?.into_inner();
    Ok(Json(recharge.into()))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(in crate::routes) struct AddCoinsBody {
    /// The number of coins, at least 1.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    coins: i64,
    /// The default is `purchase`.
    #[serde(default)]
    #[schema(value_type = Option<AddedTxType>)]
    tx_type: Option<String>,
    /// The price of the coins in rupees. The default is 0.
    #[serde(default)]
    #[eserde(compat)]
    #[schema(minimum = 0, example = 50)]
    money_amount: Option<DecimalNumber>,
    /// The user who receives a bonus. The default is the admin who sends the request.
    #[serde(default)]
    user_id: Option<i64>,
    /// A payment of the sandbox. Without one, the sandbox pays by itself.
    #[serde(default)]
    payment_id: Option<String>,
    /// The first part of the proof that the checkout of Razorpay returns. All three parts are required together.
    #[serde(default)]
    razorpay_order_id: Option<String>,
    /// The second part of the proof.
    #[serde(default)]
    razorpay_payment_id: Option<String>,
    /// The third part of the proof.
    #[serde(default)]
    razorpay_signature: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct AddCoinsAnswer {
    transaction_id: i64,
    coins_added: i64,
    money_amount: Hundredths,
    new_balance: i64,
    message: &'static str,
    created_at: Option<DateTime<Utc>>,
}

impl From<RechargeResponse> for AddCoinsAnswer {
    fn from(added: RechargeResponse) -> Self {
        Self {
            transaction_id: added.transaction_id,
            coins_added: added.coins_added,
            money_amount: Hundredths(added.amount_paise),
            new_balance: added.balance_coins,
            message: "Coins added",
            created_at: time(added.created_at),
        }
    }
}

/// Add coins to a balance.
///
/// A purchase needs a payment, as in `/calls/recharge`. Only admins may add a bonus (`admin_only`).
#[utoipa::path(
    post,
    path = "/wallet/add-coins",
    tag = "wallet",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = AddCoinsAnswer),
        (status = 400, description = "invalid_amount, out_of_range, invalid_tx_type, above_bonus_limit, audit_reason_required, incomplete_payment_proof, payment_for_something_else, invalid_idempotency_key"),
        (status = 402, description = "payment_not_found, payment_pending, payment_failed, payment_mismatch"),
        (status = 403, description = "admin_only"),
        (status = 404, description = "no_such_user"),
        (status = 409, description = "order_already_paid, payment_reversed, idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
pub(in crate::routes) async fn add_coins(
    State(mut wallet): State<WalletClient>,
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<AddCoinsBody>,
) -> Result<Json<AddCoinsAnswer>> {
    let tx_type = body.tx_type.unwrap_or_else(|| PURCHASE.to_owned());
    let is_gift = GIFTS.contains(&tx_type.as_str());
    // Users buy coins for themselves only. Only admins may name another user.
    let is_for_another = body
        .user_id
        .is_some_and(|user_id| user_id != current_user.user_id);
    if (is_gift || is_for_another) && !is_admin(&profile, current_user.user_id).await? {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "admin_only",
            "Only admins may add a bonus.",
        )
        .into());
    }
    let amount_paise = body
        .money_amount
        .as_ref()
        .map_or(Some(0), DecimalNumber::hundredths)
        .ok_or_else(invalid_amount)?;
    let razorpay = razorpay_proof(
        body.razorpay_order_id,
        body.razorpay_payment_id,
        body.razorpay_signature,
    )?;
    let added = if is_gift {
        let gift = GiveCoinsRequest {
            admin_id: current_user.user_id,
            user_id: body.user_id.unwrap_or(current_user.user_id),
            coins: body.coins,
            tx_type,
            idempotency_key,
            amount_paise,
        };
        wallet.give_coins(gift).await?
    } else {
        let purchase = AddCoinsRequest {
            user_id: current_user.user_id,
            coins: body.coins,
            tx_type,
            amount_paise,
            payment_id: body.payment_id,
            razorpay,
            idempotency_key,
        };
        wallet.add_coins(purchase).await?
    };
    Ok(Json(added.into_inner().into()))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = OrderBody)]
pub(in crate::routes) struct PaymentOrderBody {
    /// One of the amounts in `recharge_options` of `/calls/rates`, in rupees.
    #[eserde(compat)]
    #[schema(example = 150)]
    amount_rupees: DecimalNumber,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderAnswer)]
pub(in crate::routes) struct PaymentOrderAnswer {
    order_id: String,
    /// `sandbox` or `razorpay`.
    provider: String,
    amount_rupees: Hundredths,
    /// The same amount in paise, as the checkout of the provider needs it.
    amount_paise: i64,
    currency: &'static str,
    coins: i64,
    /// In the sandbox, the payment of this order.
    payment_id: Option<String>,
    /// The public part of the API key of the provider.
    key_id: Option<String>,
    status: &'static str,
    created_at: Option<DateTime<Utc>>,
}

impl From<OpenOrderResponse> for PaymentOrderAnswer {
    fn from(order: OpenOrderResponse) -> Self {
        Self {
            order_id: order.order_id,
            provider: order.provider,
            amount_rupees: Hundredths(order.amount_paise),
            amount_paise: order.amount_paise,
            currency: "INR",
            coins: order.coins,
            payment_id: order.payment_id,
            key_id: order.public_key,
            status: "created",
            created_at: time(order.created_at),
        }
    }
}

/// Open an order with the payment provider.
///
/// An order moves no money. The coins are added with the payment of the order, see `/calls/recharge`.
#[utoipa::path(
    post,
    path = "/payments/orders",
    tag = "payments",
    security(("access_token" = [])),
    responses(
        (status = 200, body = PaymentOrderAnswer),
        (status = 400, description = "invalid_amount, amount_not_on_rate_card"),
    )
)]
pub(in crate::routes) async fn open_order(
    State(mut wallet): State<WalletClient>,
    current_user: CurrentUser,
    Json(body): Json<PaymentOrderBody>,
) -> Result<Json<PaymentOrderAnswer>> {
    let request = OpenOrderRequest {
        user_id: current_user.user_id,
        amount_paise: body.amount_rupees.hundredths().ok_or_else(invalid_amount)?,
    };
    let order = wallet.open_order(request).await?.into_inner();
    Ok(Json(order.into()))
}

/// Receive a notification of the payment provider.
///
/// The header `X-Razorpay-Signature` authenticates the provider: HMAC-SHA256 of the body. Every notification with a valid
/// signature is answered with 200, even if it is ignored.
#[utoipa::path(
    post,
    path = "/payments/webhook",
    tag = "payments",
    security(()),
    params(
        ("x-razorpay-signature" = Option<String>, Header, description = "The signature of the body in hexadecimal."),
        ("x-razorpay-event-id" = Option<String>, Header, description = "The id of the notification, the same for each repetition. Without it, repetitions are recognized by their body."),
    ),
    request_body(content = String, content_type = "application/json"),
    responses(
        (status = 200, body = Message),
        (status = 400, description = "invalid_signature"),
        (status = 404, description = "no_such_provider"),
    )
)]
pub(in crate::routes) async fn receive_payment_notice(
    State(mut wallet): State<WalletClient>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<Message>> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let request = ReceivePaymentNoticeRequest {
        body,
        signature: text(SIGNATURE),
        event_id: text(EVENT_ID),
    };
    wallet.receive_payment_notice(request).await?;
    Ok(Json(Message::new("Received")))
}

fn invalid_amount() -> Error {
    Error::invalid(
        "invalid_amount",
        "The amount must be an amount in rupees with at most two decimals.",
    )
}
