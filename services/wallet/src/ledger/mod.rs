//! Operations on wallets. Each one is one transaction that locks wallets, reads, decides, posts transfers and
//! appends events.

mod balances;
pub mod bank;
mod bonus;
mod booking;
mod charge;
mod close;
mod credit;
mod debts;
mod decide;
mod disputes;
mod notices;
mod orders;
mod payouts;
mod purchase;
mod reconcile;
mod recover;
mod reversal;
mod sandbox_purchases;
mod settle;
mod statement;
mod void;
mod withdraw;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, DatabaseTransaction, StandbyReads};
use talktime_kit::messaging::Relay;

use crate::domain::WalletError;
use crate::domain::payment::RateCard;
use crate::domain::withdrawal::WithdrawalLimits;
use crate::provider::PaymentProvider;
use crate::sealing::BankDetailsSealer;
use crate::store::wallets::{self, CoinWallet, LockedWallet};

pub use balances::BalanceReader;
pub use bonus::CoinBonusGrant;
pub use charge::ChargeOutcome;
pub use close::close_account;
pub use credit::RechargeOutcome;
pub use debts::transfer_debts;
pub use decide::AdminWithdrawalView;
pub use orders::OpenPaymentOrder;
pub use payouts::{PayoutBatch, PayoutListItem};
pub use purchase::{PaymentProof, RechargeRequest, RequestedCoinPurchase};
pub use recover::{LostOrders, RecoveredOrders};
pub use sandbox_purchases::RechargeProcessor;
pub use settle::SettlementOutcome;
pub use statement::{CallEarningRow, CoinPurchase, TransactionHistoryLine, WalletStatement};
pub use withdraw::{WithdrawalHold, WithdrawalRequest};

pub use crate::store::wallets::WalletBalance;
pub use crate::store::withdrawals::WithdrawalRecord;

/// Prices and limits that the operator of the platform sets.
#[derive(Clone, Debug)]
pub struct WalletTerms {
    /// The prices of coins.
    pub rate_card: RateCard,
    /// Limits of withdrawals.
    pub withdrawals: WithdrawalLimits,
    /// The most coins that one admin may give on one day in India.
    pub daily_bonus_coins: Option<i64>,
    /// Whether given coins earn listeners as much as bought ones.
    pub bonus_earns: bool,
}

/// One request of a batch, with the trace that its events belong to.
#[derive(Clone, Debug)]
pub struct TracedRequest<T> {
    pub request: T,
    /// A W3C `traceparent`.
    pub traceparent: Option<String>,
}

/// The dependencies of a ledger.
#[derive(Clone)]
pub struct LedgerParts {
    /// The app role's pool, on a migrated database.
    pub db: DatabasePool,
    /// Reads of histories and summaries, which may lag.
    pub reads: StandbyReads,
    /// The relay that publishes appended events; it is woken after a commit.
    pub relay: Relay,
    pub clock: Clock,
    /// Prices and limits.
    pub terms: WalletTerms,
    pub sealer: BankDetailsSealer,
    pub provider: PaymentProvider,
}

/// The wallet's operations on its own database; cheap to clone.
#[derive(Clone)]
pub struct WalletLedger {
    db: DatabasePool,
    reads: StandbyReads,
    relay: Relay,
    clock: Clock,
    terms: Arc<WalletTerms>,
    sealer: BankDetailsSealer,
    provider: PaymentProvider,
}

impl WalletLedger {
    pub fn new(parts: LedgerParts) -> Self {
        Self {
            db: parts.db,
            reads: parts.reads,
            relay: parts.relay,
            clock: parts.clock,
            terms: Arc::new(parts.terms),
            sealer: parts.sealer,
            provider: parts.provider,
        }
    }

    /// The prices of coins.
    pub fn rate_card(&self) -> &RateCard {
        &self.terms.rate_card
    }

    /// Begins a transaction with the wallets of these people locked. Missing wallets are inserted first.
    async fn begin_with_wallets(
        &self,
        user_ids: &[i64],
        now: DateTime<Utc>,
    ) -> Result<(DatabaseTransaction, HashMap<i64, LockedWallet>), WalletError> {
        let mut tx = self.db.begin().await?;
        let wallets = wallets::lock(&mut tx, user_ids).await?;
        if user_ids.iter().all(|user_id| wallets.contains_key(user_id)) {
            return Ok((tx, wallets));
        }
        // A transaction that inserts wallets must not hold the locks of others, or two of them could deadlock.
        tx.rollback().await?;
        let mut tx = self.db.begin().await?;
        wallets::insert_missing(&mut tx, user_ids, now).await?;
        let wallets = wallets::lock(&mut tx, user_ids).await?;
        Ok((tx, wallets))
    }

    /// Loads a person's balance; all zero for a person without a wallet.
    pub async fn load_balance(&self, user_id: i64) -> Result<WalletBalance, WalletError> {
        let mut connection = self.db.acquire().await?;
        let earned_until = self.terms.withdrawals.earned_until(self.clock.now());
        Ok(wallets::load_balance(&mut connection, user_id, earned_until).await?)
    }

    /// Loads the balances of people; those without a wallet are left out.
    async fn load_balances(
        &self,
        user_ids: &[i64],
    ) -> Result<HashMap<i64, WalletBalance>, WalletError> {
        let mut connection = self.db.acquire().await?;
        let earned_until = self.terms.withdrawals.earned_until(self.clock.now());
        Ok(wallets::load_balances(&mut connection, user_ids, earned_until).await?)
    }

    /// Lists the coins of users; those without a wallet are left out.
    pub async fn list_coins(&self, user_ids: &[i64]) -> Result<Vec<CoinWallet>, WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(wallets::list_coins(&mut connection, user_ids).await?)
    }
}
