//! Purchases that the sandbox pays at once. Those that come in while a transaction commits share the next one, as the
//! minutes of calls do. A purchase that a provider has to report first is redeemed alone, since it waits for the provider.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher};
use talktime_kit::db::{self, PgConnection};
use talktime_kit::idempotency::{self, KeyClaimOutcome, KeyedRequest};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::outbox;
use talktime_proto::events::v1::event::Kind;

use super::credit::{CreditedPayment, purchase_postings};
use super::{PaymentProof, RechargeOutcome, RechargeRequest, RequestedCoinPurchase, WalletLedger};
use crate::domain::WalletError;
use crate::domain::payment::{self, PaymentMethod, PaymentOrder, SANDBOX};
use crate::domain::posting::Posting;
use crate::events::coins_added_event;
use crate::store::paid_orders::{self, NewPaidOrder};
use crate::store::wallets::{LockedWallet, LockedWallets};
use crate::store::{posting, wallets};

/// How long a batch waits for a key or a wallet that another transaction holds, in milliseconds. It then executes its
/// purchases one by one, and the time of a statement must be left for that.
const BATCH_LOCK_WAIT_MS: i64 = 1_000;
/// How long a purchase that is alone waits. The others of its batch are answered only then, so with the wait of the batch it
/// must be less than the time of a request.
const LOCK_WAIT_MS: i64 = 2_000;

/// Redeems recharges, those of the sandbox in batches; cheap to clone.
#[derive(Clone)]
pub struct RechargeProcessor {
    ledger: WalletLedger,
    sandbox_purchases: Batcher<SandboxPurchaseHandler>,
}

/// Executes one batch.
struct SandboxPurchaseHandler {
    ledger: WalletLedger,
}

/// The answer of a batch to one purchase.
enum SandboxPurchaseAnswer {
    /// It was made, now or by an earlier request, or its key is refused.
    Decided(Result<RechargeOutcome, WalletError>),
    /// Another purchase of the batch has the same key, so it is to be made after the batch.
    Deferred,
}

impl RechargeProcessor {
    /// Executes batches in the background until the last clone is dropped.
    pub fn start(lifecycle: &ProcessLifecycle, ledger: WalletLedger) -> Self {
        let handler = SandboxPurchaseHandler {
            ledger: ledger.clone(),
        };
        Self {
            ledger,
            sandbox_purchases: Batcher::start(lifecycle, BatchLimits::REQUESTS, handler),
        }
    }

    /// Credits a payment once, as [`WalletLedger::redeem_recharge`] does.
    pub async fn redeem_recharge(
        &self,
        recharge: RechargeRequest,
    ) -> Result<RechargeOutcome, WalletError> {
        if self.ledger.is_sandbox_purchase(&recharge) {
            let answer = self.sandbox_purchases.submit(recharge.clone()).await?;
            if let SandboxPurchaseAnswer::Decided(outcome) = answer {
                return outcome;
            }
        }
        self.ledger.redeem_recharge(&recharge).await
    }
}

impl BatchHandler for SandboxPurchaseHandler {
    const NAME: &'static str = "sandbox_purchases";
    type Task = RechargeRequest;
    type Answer = SandboxPurchaseAnswer;
    type Error = WalletError;

    async fn handle(
        &self,
        batch: &[BatchItem<RechargeRequest>],
    ) -> Result<Vec<SandboxPurchaseAnswer>, WalletError> {
        self.ledger.buy_in_sandbox(batch).await
    }

    /// A purchase fails alone if it is refused, or if its key or its wallet is held for too long. If the database cannot be
    /// reached, the commit may have succeeded, and only the same request under the same key finds out.
    fn fails_whole_batch(error: &WalletError) -> bool {
        matches!(error, WalletError::Other(error) if db::is_unreachable(error))
    }
}

/// A purchase that is decided, and what it changes.
struct SandboxPurchase {
    order: PaymentOrder,
    payment_id: String,
    payment_method: Option<&'static str>,
    /// The purchase itself, and the part of it that pays a debt at once.
    postings: Vec<Posting>,
    /// The version of the wallet after it.
    version: i64,
}

impl WalletLedger {
    /// Returns whether the sandbox pays this purchase, at a price of the rate card.
    fn is_sandbox_purchase(&self, recharge: &RechargeRequest) -> bool {
        let is_on_rate_card = match recharge.wanted {
            RequestedCoinPurchase::Step { amount_paise } => {
                self.terms.rate_card.coins_for(amount_paise).is_ok()
            }
            RequestedCoinPurchase::Coins { .. } => false,
        };
        is_on_rate_card && recharge.proof == PaymentProof::None && self.provider.name() == SANDBOX
    }

    /// Makes purchases in their order in one transaction, each under its own key.
    async fn buy_in_sandbox(
        &self,
        batch: &[BatchItem<RechargeRequest>],
    ) -> Result<Vec<SandboxPurchaseAnswer>, WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let wait_ms = if batch.len() > 1 {
            BATCH_LOCK_WAIT_MS
        } else {
            LOCK_WAIT_MS
        };
        bound_lock_waits(&mut tx, wait_ms).await?;
        let before = claim_keys(&mut tx, batch).await?;
        let new = batch.iter().zip(&before);
        let new = new.filter(|(_, answer)| answer.is_none());
        let new: Vec<&BatchItem<RechargeRequest>> = new.map(|(item, _)| item).collect();
        let outcomes = self.buy_new(&mut tx, &new, now).await?;
        let finished = new.iter().zip(&outcomes);
        let finished = finished.filter_map(|(item, outcome)| {
            let key = item.task.idempotency.as_ref()?;
            Some((key, outcome))
        });
        let finished: Vec<(&KeyedRequest, &RechargeOutcome)> = finished.collect();
        idempotency::finish_all(&mut tx, &finished).await?;
        self.commit_recharges(tx).await?;
        let mut outcomes = outcomes.into_iter();
        let answers = before.into_iter().map(|answer| {
            answer.unwrap_or_else(|| {
                let outcome = outcomes.next().ok_or_else(missing_outcome);
                SandboxPurchaseAnswer::Decided(outcome)
            })
        });
        Ok(answers.collect())
    }

    /// Makes purchases whose keys are new; returns one outcome for each, in order.
    async fn buy_new(
        &self,
        tx: &mut PgConnection,
        batch: &[&BatchItem<RechargeRequest>],
        now: DateTime<Utc>,
    ) -> Result<Vec<RechargeOutcome>, WalletError> {
        let buyers: Vec<i64> = batch.iter().map(|item| item.task.user_id).collect();
        wallets::insert_missing(tx, &buyers, now).await?;
        let mut locked = wallets::lock(tx, &buyers).await?;
        let purchases = self.decide_purchases(batch, &locked).await?;
        let postings = purchases.iter().flat_map(|purchase| &purchase.postings);
        let postings: Vec<Posting> = postings.cloned().collect();
        let transaction_ids = posting::post_all(tx, now, &mut locked, &postings).await?;
        let outcomes = purchases.iter();
        let outcomes = outcomes.map(|purchase| purchase.outcome(&transaction_ids, now));
        let outcomes: Vec<RechargeOutcome> = outcomes.collect();
        let orders = purchases.iter().zip(&outcomes);
        let orders = orders.map(|(purchase, outcome)| purchase.paid_order(outcome));
        paid_orders::insert_all(tx, &orders.collect::<Vec<_>>(), now).await?;
        let events = purchases.iter().zip(batch);
        let events = events.map(|(purchase, item)| (purchase.event(), item.traceparent.clone()));
        outbox::append_traced(tx, now, events.collect()).await?;
        Ok(outcomes)
    }

    /// Decides purchases one after another, each with the balance that those before it leave.
    async fn decide_purchases(
        &self,
        batch: &[&BatchItem<RechargeRequest>],
        locked: &LockedWallets,
    ) -> Result<Vec<SandboxPurchase>, WalletError> {
        let mut wallets = locked.clone();
        let mut purchases = Vec::with_capacity(batch.len());
        for item in batch {
            let recharge = &item.task;
            let order = self.open_sandbox_order(recharge).await?;
            let wallet = wallets.get_mut(&recharge.user_id);
            let wallet = wallet.filter(|wallet| !wallet.is_closed);
            let wallet = wallet.ok_or(WalletError::NoSuchUser)?;
            let payment_method = recharge.payment_method.map(PaymentMethod::name);
            purchases.push(SandboxPurchase::decide(wallet, order, payment_method)?);
        }
        Ok(purchases)
    }
}

impl SandboxPurchase {
    /// Decides a purchase and changes `wallet` as it will be after it.
    fn decide(
        wallet: &mut LockedWallet,
        order: PaymentOrder,
        payment_method: Option<&'static str>,
    ) -> Result<Self, WalletError> {
        let payment_id = order.payment_id.clone().ok_or(WalletError::Unpaid)?;
        payment::check_coins(order.coins, order.amount_paise, wallet.balance_coins)?;
        let payment = CreditedPayment {
            payment_id: &payment_id,
            price_paise: order.amount_paise,
            method: payment_method,
        };
        let postings = purchase_postings(wallet, &order, &payment);
        wallet.debt_coins -= wallet.debt_coins.min(order.coins);
        wallet.balance_coins = postings[0].balance_coins;
        wallet.version += 1;
        Ok(Self {
            order,
            payment_id,
            payment_method,
            postings,
            version: wallet.version,
        })
    }

    fn outcome(
        &self,
        transaction_ids: &HashMap<String, i64>,
        now: DateTime<Utc>,
    ) -> RechargeOutcome {
        let purchase = &self.postings[0];
        RechargeOutcome {
            transaction_id: transaction_ids[&purchase.transfer_id],
            amount_paise: self.order.amount_paise,
            coins_added: self.order.coins,
            balance_coins: purchase.balance_coins,
            created_at: now,
        }
    }

    fn paid_order(&self, outcome: &RechargeOutcome) -> NewPaidOrder {
        NewPaidOrder {
            order_id: self.order.order_id.clone(),
            user_id: self.order.user_id,
            amount_paise: self.order.amount_paise,
            coins: self.order.coins,
            payment_method: self.payment_method,
            payment_id: self.payment_id.clone(),
            transaction_id: outcome.transaction_id,
        }
    }

    /// The event with its aggregate and version.
    fn event(&self) -> (i64, i64, Kind) {
        let (user_id, purchase) = (self.order.user_id, &self.postings[0]);
        let added = coins_added_event(
            user_id,
            self.order.coins,
            purchase.balance_coins,
            &purchase.transfer_id,
        );
        (user_id, self.version, added)
    }
}

async fn bound_lock_waits(tx: &mut PgConnection, wait_ms: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT set_config('lock_timeout', $1, true)")
        .bind(wait_ms.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Claims the keys of a batch; returns the answers of the purchases that are not to be made now.
async fn claim_keys(
    tx: &mut PgConnection,
    batch: &[BatchItem<RechargeRequest>],
) -> Result<Vec<Option<SandboxPurchaseAnswer>>, WalletError> {
    let mut known_keys = HashSet::new();
    let is_first = batch.iter().map(|item| {
        let key = item.task.idempotency.as_ref();
        key.is_none_or(|key| known_keys.insert((item.task.user_id, key.key())))
    });
    let is_first: Vec<bool> = is_first.collect();
    let keys = batch.iter().zip(&is_first);
    let keys = keys.filter(|(_, is_first)| **is_first);
    let keys = keys.filter_map(|(item, _)| item.task.idempotency.as_ref());
    let keys: Vec<&KeyedRequest> = keys.collect();
    let mut claims = idempotency::begin_all(tx, &keys).await?.into_iter();
    let answers = batch.iter().zip(is_first).map(|(item, is_first)| {
        if !is_first {
            return Some(SandboxPurchaseAnswer::Deferred);
        }
        let claim = item.task.idempotency.as_ref().and_then(|_| claims.next());
        match claim? {
            Ok(KeyClaimOutcome::First) => None,
            Ok(KeyClaimOutcome::Before(outcome)) => {
                Some(SandboxPurchaseAnswer::Decided(Ok(outcome)))
            }
            Err(error) => Some(SandboxPurchaseAnswer::Decided(Err(error.into()))),
        }
    });
    Ok(answers.collect())
}

fn missing_outcome() -> WalletError {
    Error::internal("a purchase of a batch has no outcome").into()
}
