//! Buying coins: an order is opened, a payment pays it, and the app's proof, the provider's
//! notification and the provider's own answer may come in any order and any number of times.

use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::db::{DatabaseTransaction, PgConnection};
use talktime_kit::failpoint;
use talktime_kit::idempotency::{self, KeyClaimOutcome};

use super::booking::book_reports;
use super::credit::find_earlier_purchase;
use super::{RechargeOutcome, WalletLedger};
use crate::domain::WalletError;
use crate::domain::order_evaluation::{CURRENCY, CapturedPaymentOutcome};
use crate::domain::payment::{self, PaymentMethod, PaymentOrder, SANDBOX};
use crate::domain::provider_payment::{OrderBuyer, ProviderPaymentState, ReportedPayment};
use crate::store::payments::NewPaymentOrder;
use crate::store::{order_payments, payments};

/// The proof of a payment that a client sends (contract, section 9).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub enum PaymentProof {
    /// No proof: the sandbox pays the order itself.
    None,
    /// A payment of the sandbox.
    Sandbox { payment_id: String },
    /// The values that Razorpay's checkout handed to the app.
    Razorpay {
        order_id: String,
        payment_id: String,
        /// HMAC-SHA256 of both.
        signature: String,
    },
}

/// The purchase that a client expects for the money.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestedCoinPurchase {
    /// A step of the rate card.
    Step {
        /// The price, in paise.
        amount_paise: i64,
    },
    /// A number of coins.
    Coins {
        coins: i64,
        /// The price in paise; zero accepts the price of the order.
        amount_paise: i64,
    },
}

/// A request to buy coins.
#[derive(Clone, Debug)]
pub struct RechargeRequest {
    pub user_id: i64,
    pub wanted: RequestedCoinPurchase,
    /// The payment method, if the app names it.
    pub payment_method: Option<PaymentMethod>,
    /// The proof of the payment.
    pub proof: PaymentProof,
    /// A unique id that was generated for this request.
    pub fresh_id: String,
    /// The client's Idempotency-Key with a hash of the request.
    pub idempotency: Option<idempotency::KeyedRequest>,
}

impl WalletLedger {
    /// Credits a payment once, however often and under whatever key it is sent. A payment of a real
    /// provider is credited when the provider itself reports it as captured.
    ///
    /// # Errors
    /// `Unpaid` without a proof for an order of this person, `PaymentPending` before the capture,
    /// `PaymentFailed`, `PaymentMismatch` and `PaymentReversed` as the provider reports it.
    pub async fn redeem_recharge(
        &self,
        recharge: &RechargeRequest,
    ) -> Result<RechargeOutcome, WalletError> {
        if let PaymentProof::Razorpay {
            order_id,
            payment_id,
            signature,
        } = &recharge.proof
        {
            if !self
                .provider
                .is_proof_signed(order_id, payment_id, signature)
            {
                return Err(WalletError::Unpaid);
            }
            self.book_proved_payment(recharge, order_id, payment_id)
                .await?;
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(request) = &recharge.idempotency
            && let KeyClaimOutcome::Before(answer) = idempotency::begin(&mut tx, request).await?
        {
            return Ok(answer);
        }
        let recharged = self.redeem_proof(&mut tx, now, recharge).await?;
        if let Some(request) = &recharge.idempotency {
            idempotency::finish(&mut tx, request, &recharged).await?;
        }
        self.commit_recharges(tx).await?;
        Ok(recharged)
    }

    /// Commits one recharge or many, and has their events published.
    pub(super) async fn commit_recharges(
        &self,
        tx: DatabaseTransaction,
    ) -> Result<(), WalletError> {
        failpoint::reach("wallet.recharge.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.recharge.committed");
        self.relay.wake();
        Ok(())
    }

    /// Looks up the order of a signed proof at the provider and books what it reports. An order that is
    /// paid needs no lookup, since it is in our own books.
    async fn book_proved_payment(
        &self,
        recharge: &RechargeRequest,
        order_id: &str,
        payment_id: &str,
    ) -> Result<(), WalletError> {
        let found = payments::find(&mut *self.db.acquire().await?, order_id).await?;
        let order = recharge.check_order(found)?;
        if order.is_paid() {
            return Ok(());
        }
        let reported = self.provider.list_payments(order_id).await?;
        let state = reported.iter().find(|each| each.payment_id == payment_id);
        let state = state.map_or(ProviderPaymentState::Pending, |payment| payment.state);
        self.book_reported(order_id, reported).await?;
        match state {
            ProviderPaymentState::Captured => Ok(()),
            ProviderPaymentState::Pending => Err(WalletError::PaymentPending),
            ProviderPaymentState::Failed => Err(WalletError::PaymentFailed),
        }
    }

    /// Returns the purchase of a proof, which may have been made when the proof was first sent.
    async fn redeem_proof(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        recharge: &RechargeRequest,
    ) -> Result<RechargeOutcome, WalletError> {
        let (found, payment_id) = match &recharge.proof {
            PaymentProof::None => (self.pay_in_sandbox(tx, now, recharge).await?, None),
            PaymentProof::Sandbox { payment_id } => {
                let found = payments::find_by_payment(tx, payment_id).await?;
                (found.filter(|_| self.provider.name() == SANDBOX), None)
            }
            PaymentProof::Razorpay {
                order_id,
                payment_id,
                ..
            } => (
                payments::find(tx, order_id).await?,
                Some(payment_id.clone()),
            ),
        };
        let order = recharge.check_order(found)?;
        let payment_id = payment_id.or_else(|| order.payment_id.clone());
        let payment_id = payment_id.ok_or(WalletError::Unpaid)?;
        if order.is_paid() {
            return find_earlier_purchase(tx, &order, &payment_id).await;
        }
        if self.provider.name() != SANDBOX {
            return Err(find_refusal(tx, &payment_id).await?);
        }
        let payment = sandbox_payment(&order, payment_id, recharge.payment_method);
        let booking = book_reports(tx, now, &order.order_id, &[payment.into()]).await?;
        if let Some(recharged) = booking.credited {
            return Ok(recharged);
        }
        // Another request with the same payment was booked first.
        let order = recharge.check_order(payments::find(tx, &order.order_id).await?)?;
        let payment_id = order.payment_id.clone().ok_or(WalletError::Unpaid)?;
        find_earlier_purchase(tx, &order, &payment_id).await
    }

    /// Opens and stores an order that the sandbox pays at once. No other provider does.
    async fn pay_in_sandbox(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        recharge: &RechargeRequest,
    ) -> Result<Option<PaymentOrder>, WalletError> {
        if self.provider.name() != SANDBOX {
            return Ok(None);
        }
        let order = self.open_sandbox_order(recharge).await?;
        let new_order = NewPaymentOrder {
            order_id: &order.order_id,
            user_id: order.user_id,
            provider: self.provider.name(),
            amount_paise: order.amount_paise,
            coins: order.coins,
            payment_method: recharge.payment_method.map(PaymentMethod::name),
            payment_id: order.payment_id.as_deref(),
            ask_at: None,
        };
        payments::insert(tx, &new_order, now).await?;
        Ok(Some(order))
    }

    /// Opens an order with the sandbox, which keeps no orders of its own: the caller stores it.
    pub(super) async fn open_sandbox_order(
        &self,
        recharge: &RechargeRequest,
    ) -> Result<PaymentOrder, WalletError> {
        let (coins, amount_paise) = match recharge.wanted {
            RequestedCoinPurchase::Step { amount_paise } => {
                (self.terms.rate_card.coins_for(amount_paise)?, amount_paise)
            }
            RequestedCoinPurchase::Coins {
                coins,
                amount_paise,
            } => (coins, amount_paise),
        };
        payment::check_coins(coins, amount_paise, 0)?;
        let user_id = recharge.user_id;
        let buyer = OrderBuyer { user_id, coins };
        let opened = self
            .provider
            .open_order(&recharge.fresh_id, amount_paise, buyer)
            .await?;
        Ok(PaymentOrder {
            order_id: opened.order_id,
            user_id,
            provider: self.provider.name().to_owned(),
            amount_paise,
            coins,
            payment_id: opened.payment_id,
            transaction_id: None,
            paid_at: None,
            paid_paise: None,
            reversed_paise: 0,
            reversed_coins: 0,
        })
    }
}

impl RechargeRequest {
    /// Checks that the order of a proof belongs to this person and matches the expected purchase.
    fn check_order(&self, found: Option<PaymentOrder>) -> Result<PaymentOrder, WalletError> {
        let order = found.filter(|order| order.user_id == self.user_id);
        let order = order.ok_or(WalletError::Unpaid)?;
        if !self.wanted.matches_order(&order) {
            return Err(WalletError::OtherPurchase);
        }
        Ok(order)
    }
}

/// Finds the reason why a captured payment did not credit its order.
async fn find_refusal(tx: &mut PgConnection, payment_id: &str) -> Result<WalletError, WalletError> {
    let record = order_payments::find(tx, payment_id).await?;
    Ok(match record {
        Some(record) if record.has_outcome(CapturedPaymentOutcome::Returned) => {
            WalletError::PaymentReversed
        }
        Some(_) => WalletError::PaymentMismatch,
        None => WalletError::Unpaid,
    })
}

/// The payment by which the sandbox pays an order.
fn sandbox_payment(
    order: &PaymentOrder,
    payment_id: String,
    method: Option<PaymentMethod>,
) -> ReportedPayment {
    ReportedPayment {
        order_id: order.order_id.clone(),
        payment_id,
        state: ProviderPaymentState::Captured,
        amount: order.amount_paise,
        currency: CURRENCY.to_owned(),
        is_discounted: false,
        refunded: 0,
        method: method.map(|method| method.name().to_owned()),
    }
}

impl RequestedCoinPurchase {
    fn matches_order(self, order: &PaymentOrder) -> bool {
        match self {
            Self::Step { amount_paise } => amount_paise == order.amount_paise,
            Self::Coins {
                coins,
                amount_paise,
            } => coins == order.coins && [0, order.amount_paise].contains(&amount_paise),
        }
    }
}
