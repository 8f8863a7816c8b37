//! Decisions of admins about withdrawals.

use talktime_kit::failpoint;
use talktime_kit::paging::{ListPage, ListPageRequest};

use super::WalletLedger;
use super::withdraw::append_withdrawal_updated;
use crate::domain::WalletError;
use crate::domain::bank::BankDetails;
use crate::domain::history::TransactionType;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, payout_id, withdrawal_return_id,
};
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::domain::withdrawal::{
    WithdrawalDecision, WithdrawalDecisionOutcome, WithdrawalState, WithdrawalStatus,
};
use crate::ledger::bank::open_details;
use crate::store::wallets::LockedWallet;
use crate::store::withdrawals::{self, WithdrawalRecord};
use crate::store::{bank::SealedBankDetails, posting, wallets};

/// A withdrawal as admins see it, with the bank account opened.
#[derive(Clone, Debug)]
pub struct AdminWithdrawalView {
    pub withdrawal: WithdrawalRecord,
    /// The bank account that receives the sum.
    pub details: BankDetails,
    /// Admins who must agree to pay it.
    pub admins_needed: usize,
}

impl WalletLedger {
    /// Applies a decision once. The same decision again returns the current state of the withdrawal.
    pub async fn decide_withdrawal(
        &self,
        withdrawal_id: i64,
        decision: &WithdrawalDecision,
    ) -> Result<AdminWithdrawalView, WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        // All code locks wallets before anything else, so that no two transactions wait for each other.
        let owner = withdrawals::find_owner(&mut tx, withdrawal_id).await?;
        let owner_id = owner.ok_or(WalletError::NoSuchWithdrawal)?;
        let mut locked = wallets::lock(&mut tx, &[owner_id]).await?;
        let state = withdrawals::lock(&mut tx, withdrawal_id).await?;
        let state = state.ok_or(WalletError::NoSuchWithdrawal)?;
        let wallet = locked.get(&owner_id).copied();
        let wallet = wallet.ok_or(WalletError::NoSuchWithdrawal)?;
        let outcome = decision.evaluate(&state, &self.terms.withdrawals, now)?;
        if outcome != WithdrawalDecisionOutcome::Unchanged {
            withdrawals::insert_decision(&mut tx, withdrawal_id, decision, now).await?;
        }
        if outcome == WithdrawalDecisionOutcome::Applied {
            withdrawals::update_status(&mut tx, withdrawal_id, decision.status, now).await?;
            let posting = decision_posting(&wallet, withdrawal_id, &state, decision.status);
            match posting {
                Some(posting) => {
                    posting::post_all(&mut tx, now, &mut locked, &[posting]).await?;
                }
                None if wallet.is_closed => {}
                None => wallets::increment_version(&mut tx, owner_id, now).await?,
            }
            // Nobody is left to be notified of a deleted account's withdrawal.
            if !wallet.is_closed {
                let (amount_paise, status) = (state.amount_paise, decision.status);
                append_withdrawal_updated(
                    &mut tx,
                    now,
                    &wallet,
                    withdrawal_id,
                    amount_paise,
                    status,
                )
                .await?;
            }
        }
        let decided = withdrawals::find(&mut tx, withdrawal_id).await?;
        if wallet.is_closed
            && outcome == WithdrawalDecisionOutcome::Applied
            && decision.status.is_final()
        {
            withdrawals::delete(&mut tx, withdrawal_id).await?;
        }
        failpoint::reach("wallet.decide.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.decide.committed");
        self.relay.wake();
        self.review_withdrawal(decided.ok_or(WalletError::NoSuchWithdrawal)?)
    }

    /// Lists a page of everybody's withdrawals with one status, the oldest first.
    pub async fn list_for_review(
        &self,
        status: WithdrawalStatus,
        page: ListPageRequest,
    ) -> Result<ListPage<AdminWithdrawalView>, WalletError> {
        let mut connection = self.db.acquire().await?;
        let found = withdrawals::list_by_status(&mut connection, status, page).await?;
        let entries = found.entries.into_iter();
        Ok(ListPage {
            entries: entries
                .map(|withdrawal| self.review_withdrawal(withdrawal))
                .collect::<Result<_, _>>()?,
            total: found.total,
        })
    }

    fn review_withdrawal(
        &self,
        withdrawal: WithdrawalRecord,
    ) -> Result<AdminWithdrawalView, WalletError> {
        let details = self.open_bank_details(withdrawal.user_id, &withdrawal.details)?;
        Ok(AdminWithdrawalView {
            details,
            admins_needed: self.terms.withdrawals.admins_needed(withdrawal.day_paise),
            withdrawal,
        })
    }

    pub(super) fn open_bank_details(
        &self,
        user_id: i64,
        sealed: &SealedBankDetails,
    ) -> Result<BankDetails, WalletError> {
        open_details(&self.sealer, user_id, sealed)
    }
}

/// The transfer that a decision makes; none if no money moves.
fn decision_posting(
    wallet: &LockedWallet,
    withdrawal_id: i64,
    state: &WithdrawalState,
    status: WithdrawalStatus,
) -> Option<Posting> {
    let (user_id, amount_paise) = (wallet.user_id, state.amount_paise);
    let returned = WalletChange {
        withdrawable_paise: amount_paise,
        pending_paise: -amount_paise,
        events: 1,
        ..WalletChange::default()
    };
    let paid = WalletChange {
        withdrawn_paise: amount_paise,
        withdrawable_paise: 0,
        ..returned
    };
    let (transfer_id, kind, credit, change) = match status {
        WithdrawalStatus::Pending | WithdrawalStatus::Processing => return None,
        WithdrawalStatus::Paid => (
            payout_id(withdrawal_id),
            TransferKind::Payout,
            JournalAccount::Bank,
            paid,
        ),
        WithdrawalStatus::Rejected => (
            withdrawal_return_id(withdrawal_id),
            TransferKind::WithdrawalReturn,
            // A deleted account takes nothing back.
            if wallet.is_closed {
                JournalAccount::Forfeited
            } else {
                JournalAccount::User(user_id)
            },
            returned,
        ),
    };
    let line =
        (status == WithdrawalStatus::Rejected && !wallet.is_closed).then(|| NewHistoryLine {
            tx_type: TransactionType::Withdraw,
            coins_change: 0,
            money_change_paise: amount_paise,
            description: format!("Withdrawal {withdrawal_id}, returned"),
        });
    Some(Posting {
        transfer_id,
        kind,
        content: format!(
            "{amount_paise} paise that user {user_id} asked for: {}",
            status.name()
        ),
        call_id: None,
        coins: 0,
        paise: amount_paise,
        balance_coins: wallet.balance_coins,
        entries: vec![JournalEntry {
            currency: JournalCurrency::Paise,
            debit: JournalAccount::PayoutsPending,
            credit,
            amount: amount_paise,
        }],
        owner_id: user_id,
        change,
        line,
    })
}
