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

pub(super) fn parse_coin_purchase(
    request: pb::AddCoinsRequest,
) -> Result<RechargeRequest, WalletError> {
    let tx_type = TransactionType::parse(&request.tx_type)?;
    if tx_type != TransactionType::Purchase {
        return Err(WalletError::UnknownTxType);
    }
    let (user_id, coins, amount_paise) = (request.user_id, request.coins, request.amount_paise);
    let proof = parse_proof(request.payment_id, request.razorpay);
    let body = (user_id, coins, amount_paise, tx_type.name(), &proof);
    Ok(RechargeRequest {
        user_id,
        wanted: RequestedCoinPurchase::Coins {
            coins,
            amount_paise,
        },
        payment_method: None,
        idempotency: idempotency_request(user_id, ADD_COINS, request.idempotency_key, &body)?,
        proof,
        fresh_id: generate_fresh_id(),
    })
}

pub(super) fn parse_coin_gift(
    request: pb::GiveCoinsRequest,
) -> Result<CoinBonusGrant, WalletError> {
    let tx_type = TransactionType::parse(&request.tx_type)?;
    let is_gift = matches!(
        tx_type,
        TransactionType::Bonus | TransactionType::ReferralBonus
    );
    if !is_gift {
        return Err(WalletError::UnknownTxType);
    }
    if request.amount_paise != 0 {
        return Err(WalletError::OutOfRange("the money"));
    }
    let (admin_id, user_id, coins) = (request.admin_id, request.user_id, request.coins);
    // The same as before gifts had a method of their own, so that repeated requests are recognized.
    let body = (user_id, coins, 0_i64, tx_type.name(), &PaymentProof::None);
    Ok(CoinBonusGrant {
        user_id,
        admin_id,
        tx_type,
        coins,
        fresh_id: generate_fresh_id(),
        idempotency: idempotency_request(admin_id, ADD_COINS, request.idempotency_key, &body)?,
    })
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
