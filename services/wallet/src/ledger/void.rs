//! Voiding charges, including those that have not arrived yet.

use talktime_proto::wallet::charge_id;

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::charging::MinuteCharge;
use crate::domain::history::TransactionType;
use crate::domain::journal::{JournalAccount, TransferKind, coin_entries, void_id};
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::store::wallets::LockedWallet;
use crate::store::{posting, transfers};

impl WalletLedger {
    /// Voids the charge of one minute; returns the number of coins that were given back. If the charge has not
    /// arrived yet, a transfer without money takes its id, so that the charge is refused when it arrives.
    pub async fn void_charge(
        &self,
        call_id: i64,
        minute: i32,
        user_id: i64,
    ) -> Result<i64, WalletError> {
        if call_id < 1 || minute < 1 || user_id < 1 {
            return Err(WalletError::OutOfRange("call_id, minute or user_id"));
        }
        let now = self.clock.now();
        let (mut tx, mut locked) = self.begin_with_wallets(&[user_id], now).await?;
        let found = transfers::find(&mut tx, &charge_id(call_id, minute)).await?;
        let (posting, returned_coins) = match found {
            None => (
                Some(tombstone_posting(&locked[&user_id], call_id, minute)),
                0,
            ),
            Some(tombstone) if tombstone.coins == 0 => (None, 0),
            Some(found) => {
                let charge = MinuteCharge {
                    call_id,
                    minute,
                    user_id,
                    coins: found.coins,
                };
                if found.content != charge.content() {
                    return Err(WalletError::TransferMismatch {
                        transfer_id: charge.id(),
                    });
                }
                let earlier_void = transfers::find(&mut tx, &void_id(call_id, minute)).await?;
                let posting = earlier_void
                    .is_none()
                    .then(|| void_posting(&charge, found.bonus_coins, &locked[&user_id]));
                (posting, charge.coins)
            }
        };
        posting::post_all(&mut tx, now, &mut locked, posting.as_slice()).await?;
        tx.commit().await?;
        Ok(returned_coins)
    }
}

/// A transfer without money under the id of a charge that has not arrived.
fn tombstone_posting(wallet: &LockedWallet, call_id: i64, minute: i32) -> Posting {
    Posting {
        transfer_id: charge_id(call_id, minute),
        kind: TransferKind::Void,
        content: "voided before it came".to_owned(),
        call_id: Some(call_id),
        coins: 0,
        paise: 0,
        balance_coins: wallet.balance_coins,
        entries: vec![],
        owner_id: wallet.user_id,
        change: WalletChange::default(),
        line: None,
    }
}

/// The transfer that returns the coins of a charge to the accounts that they came from. Of a deleted account, those that
/// were bought are forfeited, and those that were given return to their issue.
pub(super) fn void_posting(
    charge: &MinuteCharge,
    bonus_coins: i64,
    payer: &LockedWallet,
) -> Posting {
    let MinuteCharge {
        call_id,
        minute,
        user_id,
        coins,
    } = *charge;
    let (user, user_bonus, change) = if payer.is_closed {
        let (forfeited, issue) = (JournalAccount::Forfeited, JournalAccount::CoinIssue);
        (forfeited, issue, WalletChange::default())
    } else {
        let change = WalletChange {
            coins,
            bonus_coins,
            ..WalletChange::default()
        };
        let bonus = JournalAccount::UserBonus(user_id);
        (JournalAccount::User(user_id), bonus, change)
    };
    let revenue = JournalAccount::CoinRevenue;
    let line = NewHistoryLine {
        tx_type: TransactionType::Refund,
        coins_change: change.coins,
        money_change_paise: 0,
        description: format!("Minute {minute} of call {call_id}, returned"),
    };
    Posting {
        transfer_id: void_id(call_id, minute),
        kind: TransferKind::Void,
        content: format!("user {user_id} gets {coins} coins back"),
        call_id: Some(call_id),
        coins,
        paise: 0,
        balance_coins: payer.balance_coins + change.coins,
        entries: coin_entries([
            (revenue, user_bonus, bonus_coins),
            (revenue, user, coins - bonus_coins),
        ]),
        owner_id: user_id,
        change,
        line: (!payer.is_closed).then_some(line),
    }
}
