//! Requesting withdrawals. The sum is held in the same transaction, so that it cannot be withdrawn twice.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::db::PgConnection;
use talktime_kit::failpoint;
use talktime_kit::idempotency::{self, KeyClaimOutcome};
use talktime_kit::messaging::outbox;
use talktime_kit::paging::{ListPage, ListPageRequest};

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::history::TransactionType;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, withdrawal_transfer_id,
};
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::domain::withdrawal::{WithdrawalBudget, WithdrawalStatus};
use crate::events::withdrawal_updated_event;
use crate::store::wallets::LockedWallet;
use crate::store::withdrawals::{self, NewWithdrawal, WithdrawalRecord};
use crate::store::{bank, earnings, posting, wallets};

/// The period of the daily limit.
const DAY: TimeDelta = TimeDelta::hours(24);

/// A request to withdraw rupees.
#[derive(Clone, Debug)]
pub struct WithdrawalRequest {
    pub user_id: i64,
    /// The sum, in paise.
    pub amount_paise: i64,
    /// The client's Idempotency-Key with a hash of the request.
    pub idempotency: Option<idempotency::KeyedRequest>,
}

/// A withdrawal that was accepted, with the line that holds its sum.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WithdrawalHold {
    /// The line in the history that records the hold.
    pub transaction_id: i64,
    pub withdrawal_id: i64,
    /// The sum, in paise.
    pub amount_paise: i64,
    pub created_at: DateTime<Utc>,
}

impl WalletLedger {
    /// Accepts a withdrawal and holds its sum.
    pub async fn request_withdrawal(
        &self,
        request: &WithdrawalRequest,
    ) -> Result<WithdrawalHold, WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(key) = &request.idempotency
            && let KeyClaimOutcome::Before(answer) = idempotency::begin(&mut tx, key).await?
        {
            return Ok(answer);
        }
        let held = self.hold_amount(&mut tx, now, request).await?;
        if let Some(key) = &request.idempotency {
            idempotency::finish(&mut tx, key, &held).await?;
        }
        failpoint::reach("wallet.withdraw.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.withdraw.committed");
        self.relay.wake();
        Ok(held)
    }

    async fn hold_amount(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        request: &WithdrawalRequest,
    ) -> Result<WithdrawalHold, WalletError> {
        let (user_id, amount_paise) = (request.user_id, request.amount_paise);
        let mut locked = wallets::lock(tx, &[user_id]).await?;
        let wallet = locked.get(&user_id).copied();
        let limits = &self.terms.withdrawals;
        let budget = WithdrawalBudget {
            withdrawable_paise: wallet.map_or(0, |wallet| wallet.withdrawable_paise),
            held_paise: earnings::sum_held(tx, user_id, limits.earned_until(now)).await?,
            requested_today_paise: withdrawals::sum_requested_since(tx, user_id, now - DAY).await?,
        };
        limits.check_request(amount_paise, budget)?;
        let wallet = wallet.ok_or(WalletError::NoBankDetails)?;
        let bank = bank::find(tx, user_id)
            .await?
            .ok_or(WalletError::NoBankDetails)?;
        let new = NewWithdrawal {
            user_id,
            amount_paise,
            details: &bank.details,
            payable_at: limits.payable_at(now, bank.bank_changed_at),
        };
        let withdrawal_id = withdrawals::insert(tx, &new, now).await?;
        let posting = hold_posting(&wallet, withdrawal_id, amount_paise);
        let transfer_id = posting.transfer_id.clone();
        let made = posting::post_all(tx, now, &mut locked, &[posting]).await?;
        let transaction_id = made[&transfer_id];
        withdrawals::set_transaction(tx, withdrawal_id, transaction_id).await?;
        append_withdrawal_updated(
            tx,
            now,
            &wallet,
            withdrawal_id,
            amount_paise,
            WithdrawalStatus::Pending,
        )
        .await?;
        Ok(WithdrawalHold {
            transaction_id,
            withdrawal_id,
            amount_paise,
            created_at: now,
        })
    }

    /// Lists a page of a person's withdrawals, the newest first.
    pub async fn list_withdrawals(
        &self,
        user_id: i64,
        page: ListPageRequest,
    ) -> Result<(ListPage<WithdrawalRecord>, wallets::WalletBalance), WalletError> {
        let mut connection = self.db.acquire().await?;
        let found = withdrawals::list_by_user(&mut connection, user_id, page).await?;
        let earned_until = self.terms.withdrawals.earned_until(self.clock.now());
        let balance = wallets::load_balance(&mut connection, user_id, earned_until).await?;
        Ok((found, balance))
    }
}

/// Appends the event that notifies a listener of the status of a withdrawal.
pub(super) async fn append_withdrawal_updated(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    wallet: &LockedWallet,
    withdrawal_id: i64,
    amount_paise: i64,
    status: WithdrawalStatus,
) -> sqlx::Result<()> {
    let (user_id, version) = (wallet.user_id, wallet.version + 1);
    let event = withdrawal_updated_event(user_id, withdrawal_id, amount_paise, status);
    outbox::append(tx, user_id, version, now, event).await
}

fn hold_posting(wallet: &LockedWallet, withdrawal_id: i64, amount_paise: i64) -> Posting {
    let user_id = wallet.user_id;
    Posting {
        transfer_id: withdrawal_transfer_id(withdrawal_id),
        kind: TransferKind::Withdrawal,
        content: format!("user {user_id} asks for {amount_paise} paise"),
        call_id: None,
        coins: 0,
        paise: amount_paise,
        balance_coins: wallet.balance_coins,
        entries: vec![JournalEntry {
            currency: JournalCurrency::Paise,
            debit: JournalAccount::User(user_id),
            credit: JournalAccount::PayoutsPending,
            amount: amount_paise,
        }],
        owner_id: user_id,
        change: WalletChange {
            withdrawable_paise: -amount_paise,
            pending_paise: amount_paise,
            events: 1,
            ..WalletChange::default()
        },
        line: Some(NewHistoryLine {
            tx_type: TransactionType::Withdraw,
            coins_change: 0,
            money_change_paise: -amount_paise,
            description: format!("Withdrawal {withdrawal_id}"),
        }),
    }
}
