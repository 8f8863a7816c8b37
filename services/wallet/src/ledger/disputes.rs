//! Disputes about payments. While one is open, the coins that are left of the payment are set aside, and earnings that
//! were paid for with the others cannot be withdrawn. A lost dispute takes both, any other outcome releases them.

use chrono::{DateTime, Utc};
use futures::FutureExt;
use talktime_kit::db::PgConnection;

use super::WalletLedger;
use super::credit::debt_posting;
use crate::domain::WalletError;
use crate::domain::dispute::{DisputeStatus, PaymentDispute, attribute_earnings, coins_at_stake};
use crate::domain::history::TransactionType;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, debt_payment_id, dispute_hold_id,
    dispute_release_id, lost_earning_id,
};
use crate::domain::order_evaluation::CapturedPayment;
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::store::disputes::LostEarning;
use crate::store::wallets::LockedWallet;
use crate::store::{accounts, disputes, posting, wallets};

/// Lost earnings that are read at once.
const LOST_AT_ONCE: i64 = 100;
/// Rounds of them in one call, so that a store that repeats itself ends.
const ROUNDS_MAX: usize = 100;

/// A credited payment that is disputed, under the lock of its buyer's wallet.
pub(super) struct DisputedPayment<'a> {
    pub(super) owner_id: i64,
    /// The payment with everything that went back of it before.
    pub(super) payment: &'a CapturedPayment,
    /// The sum that it paid, in paise, and the coins that it brought.
    pub(super) price_paise: i64,
    pub(super) coins: i64,
    /// The instant at which it was credited.
    pub(super) paid_at: DateTime<Utc>,
    pub(super) dispute: &'a PaymentDispute,
}

impl DisputedPayment<'_> {
    /// Applies what was reported about the dispute, once, and in any order: one that is decided is not opened again.
    pub(super) async fn apply_report(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<(), WalletError> {
        let (payment_id, dispute) = (&self.payment.payment_id, self.dispute);
        let is_new = disputes::insert(tx, payment_id, self.owner_id, dispute, now).await?;
        match (dispute.status, is_new) {
            (DisputeStatus::Open, true) => self.freeze(tx, now).await,
            (DisputeStatus::Open, false) | (_, true) => Ok(()),
            (_, false) => self.decide(tx, now).await,
        }
    }

    async fn freeze(&self, tx: &mut PgConnection, now: DateTime<Utc>) -> Result<(), WalletError> {
        let (payment_id, dispute_id) = (&self.payment.payment_id, &self.dispute.dispute_id);
        let mut locked = wallets::lock(tx, &[self.owner_id]).await?;
        let wallet = locked[&self.owner_id];
        let amount = self.dispute.amount;
        let at_stake = coins_at_stake(self.payment, self.price_paise, self.coins, amount);
        // Coins that a deleted account has left behind belong to the platform already, and pay for a loss first.
        let left_coins = if wallet.is_closed {
            accounts::sum_forfeited_coins(tx, self.owner_id).await?
        } else {
            wallet.bought_coins()
        };
        let kept_coins = at_stake.min(left_coins);
        let frozen_coins = if wallet.is_closed { 0 } else { kept_coins };
        if frozen_coins > 0 {
            let posting = self.movement_posting(&wallet, frozen_coins, CoinMovement::Hold);
            posting::post_all(tx, now, &mut locked, &[posting]).await?;
            disputes::set_frozen(tx, payment_id, dispute_id, frozen_coins).await?;
        }
        let spent_coins = at_stake - kept_coins;
        let calls = disputes::list_paid_calls(tx, self.owner_id, self.paid_at).await?;
        let earnings = attribute_earnings(spent_coins, &calls);
        disputes::insert_earnings(tx, payment_id, dispute_id, &earnings).await?;
        Ok(())
    }

    /// Returns the coins that were set aside. They pay a debt first, since a refund that was booked meanwhile could not take
    /// them. A loss takes the rest in the same transaction, like those of any reversal.
    async fn decide(&self, tx: &mut PgConnection, now: DateTime<Utc>) -> Result<(), WalletError> {
        let payment_id = &self.payment.payment_id;
        let Some(frozen_coins) = disputes::decide(tx, payment_id, self.dispute, now).await? else {
            return Ok(());
        };
        disputes::decide_earnings(tx, payment_id, self.dispute).await?;
        if frozen_coins > 0 {
            let mut locked = wallets::lock(tx, &[self.owner_id]).await?;
            let wallet = locked[&self.owner_id];
            let mut postings =
                vec![self.movement_posting(&wallet, frozen_coins, CoinMovement::Release)];
            let owed_coins = wallet.debt_coins.min(frozen_coins);
            if owed_coins > 0 {
                let debt_id = debt_payment_id(&postings[0].transfer_id);
                let balance_coins = postings[0].balance_coins - owed_coins;
                postings.push(debt_posting(
                    self.owner_id,
                    JournalAccount::User(self.owner_id),
                    debt_id,
                    owed_coins,
                    balance_coins,
                ));
            }
            posting::post_all(tx, now, &mut locked, &postings).await?;
        }
        Ok(())
    }

    fn movement_posting(
        &self,
        wallet: &LockedWallet,
        coins: i64,
        movement: CoinMovement,
    ) -> Posting {
        let user_id = wallet.user_id;
        let (payment_id, dispute_id) = (&self.payment.payment_id, &self.dispute.dispute_id);
        let (user, disputed) = (JournalAccount::User(user_id), JournalAccount::Disputed);
        let (transfer_id, kind, debit, credit, change, description) = match movement {
            CoinMovement::Hold => (
                dispute_hold_id(payment_id, dispute_id),
                TransferKind::DisputeHold,
                user,
                disputed,
                -coins,
                "Coins held while a payment is disputed",
            ),
            CoinMovement::Release => (
                dispute_release_id(payment_id, dispute_id),
                TransferKind::DisputeRelease,
                disputed,
                user,
                coins,
                "Coins of a payment that was disputed",
            ),
        };
        Posting {
            transfer_id,
            kind,
            content: format!("{coins} coins of user {user_id} and dispute {dispute_id}"),
            call_id: None,
            coins,
            paise: 0,
            balance_coins: wallet.balance_coins + change,
            entries: vec![JournalEntry {
                currency: JournalCurrency::Coins,
                debit,
                credit,
                amount: coins,
            }],
            owner_id: user_id,
            change: WalletChange {
                coins: change,
                ..WalletChange::default()
            },
            line: Some(NewHistoryLine {
                tx_type: TransactionType::Refund,
                coins_change: change,
                money_change_paise: 0,
                description: description.to_owned(),
            }),
        }
    }
}

/// The direction in which disputed coins move.
#[derive(Clone, Copy)]
enum CoinMovement {
    Hold,
    Release,
}

impl WalletLedger {
    /// Takes the earnings that were paid for with money that lost disputes took back, each in a transaction of its own.
    /// Returns how many there were.
    pub async fn take_lost_earnings(&self) -> Result<usize, WalletError> {
        let mut taken = 0;
        for _ in 0..ROUNDS_MAX {
            let lost = self
                .db
                .poll(|db| disputes::list_lost(db, LOST_AT_ONCE).boxed());
            let lost = lost.await?;
            if lost.is_empty() {
                break;
            }
            for earning in &lost {
                taken += usize::from(self.take_lost_earning(earning).await?);
            }
        }
        Ok(taken)
    }

    async fn take_lost_earning(&self, earning: &LostEarning) -> Result<bool, WalletError> {
        let now = self.clock.now();
        let listener_id = earning.listener_id;
        let mut tx = self.db.begin().await?;
        let mut locked = wallets::lock(&mut tx, &[listener_id]).await?;
        // Another replica may have taken them while this one waited for the lock.
        if !disputes::delete_lost(&mut tx, earning).await? {
            return Ok(false);
        }
        let wallet = locked.get(&listener_id).copied();
        if let Some(wallet) = wallet.filter(|wallet| !wallet.is_closed) {
            // Money that was withdrawn before the dispute is gone.
            let paise = earning.paise.min(wallet.withdrawable_paise);
            if paise > 0 {
                let posting = lost_earning_posting(&wallet, earning, paise);
                posting::post_all(&mut tx, now, &mut locked, &[posting]).await?;
            }
        }
        tx.commit().await?;
        Ok(true)
    }
}

fn lost_earning_posting(wallet: &LockedWallet, earning: &LostEarning, paise: i64) -> Posting {
    let LostEarning {
        dispute_id,
        call_id,
        ..
    } = earning;
    let user_id = wallet.user_id;
    Posting {
        transfer_id: lost_earning_id(&earning.payment_id, dispute_id, *call_id),
        kind: TransferKind::EarningReversal,
        content: format!("dispute {dispute_id} takes {paise} paise of user {user_id}"),
        call_id: Some(*call_id),
        coins: 0,
        paise,
        balance_coins: wallet.balance_coins,
        entries: vec![JournalEntry {
            currency: JournalCurrency::Paise,
            debit: JournalAccount::User(user_id),
            credit: JournalAccount::ListenerCost,
            amount: paise,
        }],
        owner_id: user_id,
        change: WalletChange {
            withdrawable_paise: -paise,
            ..WalletChange::default()
        },
        line: Some(NewHistoryLine {
            tx_type: TransactionType::Refund,
            coins_change: 0,
            money_change_paise: -paise,
            description: format!("The payment for call {call_id} was taken back"),
        }),
    }
}
