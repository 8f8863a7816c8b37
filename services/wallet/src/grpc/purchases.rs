//! Between the wire and the domain: orders, payments and gifts.

use serde::Serialize;
use talktime_kit::idempotency;
use talktime_proto::timestamp;
use talktime_proto::wallet::v1 as pb;
use uuid::Uuid;

use crate::domain::WalletError;
use crate::domain::history::TransactionType;
use crate::domain::payment::PaymentMethod;
use crate::ledger::{
    CoinBonusGrant, OpenPaymentOrder, PaymentProof, RechargeOutcome, RechargeRequest,
    RequestedCoinPurchase,
};

const RECHARGE: &str = "POST /calls/recharge";
const ADD_COINS: &str = "POST /wallet/add-coins";

/// A request of an admin to add coins: a purchase or a gift.
pub(super) enum AdminCoinAddition {
    Recharge(RechargeRequest),
    Bonus(CoinBonusGrant),
}

/// A unique id that sorts by time.
pub(super) fn generate_fresh_id() -> String {
    Uuid::now_v7().simple().to_string()
}

pub(super) fn parse_recharge(request: pb::RechargeRequest) -> Result<RechargeRequest, WalletError> {
    let payment_method = PaymentMethod::parse(&request.payment_method)?;
    let proof = parse_proof(request.payment_id, request.razorpay);
    let body = (request.amount_paise, &request.payment_method, &proof);
    Ok(RechargeRequest {
        user_id: request.user_id,
        wanted: RequestedCoinPurchase::Step {
            amount_paise: request.amount_paise,
        },
        payment_method: Some(payment_method),
        idempotency: idempotency_request(
            request.user_id,
            RECHARGE,
            request.idempotency_key,
            &body,
        )?,
        proof,
        fresh_id: generate_fresh_id(),
    })
}

pub(super) fn parse_coin_addition(
    request: pb::AddCoinsRequest,
) -> Result<AdminCoinAddition, WalletError> {
    let tx_type = TransactionType::parse(&request.tx_type)?;
    let (coins, amount_paise) = (request.coins, request.amount_paise);
    let proof = parse_proof(request.payment_id, request.razorpay);
    let body = (request.user_id, coins, amount_paise, tx_type.name(), &proof);
    // Users buy for themselves; only gifts are requested by another person.
    let requester_id = if tx_type == TransactionType::Purchase {
        request.user_id
    } else {
        request.admin_id
    };
    let idempotency = idempotency_request(requester_id, ADD_COINS, request.idempotency_key, &body)?;
    match tx_type {
        TransactionType::Purchase => Ok(AdminCoinAddition::Recharge(RechargeRequest {
            user_id: request.user_id,
            wanted: RequestedCoinPurchase::Coins {
                coins,
                amount_paise,
            },
            payment_method: None,
            proof,
            fresh_id: generate_fresh_id(),
            idempotency,
        })),
        TransactionType::Bonus | TransactionType::ReferralBonus if amount_paise == 0 => {
            Ok(AdminCoinAddition::Bonus(CoinBonusGrant {
                user_id: request.user_id,
                admin_id: request.admin_id,
                tx_type,
                coins,
                fresh_id: generate_fresh_id(),
                idempotency,
            }))
        }
        TransactionType::Bonus | TransactionType::ReferralBonus => {
            Err(WalletError::OutOfRange("the money"))
        }
        _ => Err(WalletError::UnknownTxType),
    }
}

fn parse_proof(payment_id: Option<String>, razorpay: Option<pb::RazorpayProof>) -> PaymentProof {
    match (razorpay, payment_id) {
        (Some(proof), _) => PaymentProof::Razorpay {
            order_id: proof.order_id,
            payment_id: proof.payment_id,
            signature: proof.signature,
        },
        (None, Some(payment_id)) => PaymentProof::Sandbox { payment_id },
        (None, None) => PaymentProof::None,
    }
}

fn idempotency_request(
    user_id: i64,
    route: &'static str,
    key: Option<String>,
    body: &impl Serialize,
) -> Result<Option<idempotency::KeyedRequest>, WalletError> {
    let request = key.map(|key| idempotency::KeyedRequest::new(user_id, route, key, body));
    Ok(request.transpose()?)
}

pub(super) fn recharge_response(recharged: &RechargeOutcome) -> pb::RechargeResponse {
    pb::RechargeResponse {
        transaction_id: recharged.transaction_id,
        amount_paise: recharged.amount_paise,
        coins_added: recharged.coins_added,
        balance_coins: recharged.balance_coins,
        created_at: Some(timestamp(recharged.created_at)),
    }
}

pub(super) fn open_order_response(order: OpenPaymentOrder) -> pb::OpenOrderResponse {
    pb::OpenOrderResponse {
        order_id: order.order_id,
        provider: order.provider.to_owned(),
        amount_paise: order.amount_paise,
        coins: order.coins,
        payment_id: order.payment_id,
        public_key: order.public_key,
        created_at: Some(timestamp(order.created_at)),
    }
}
