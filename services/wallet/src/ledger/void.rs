//! Undoing a charge, or keeping it from ever happening.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_proto::wallet::charge_id;

use super::Ledger;
use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::domain::journal::{self, Account, Entry, TransferKind, void_id};
use crate::store::posting::{self, Posting, Transaction};
use crate::store::{transfers, wallets};

impl Ledger {
    /// Undoes the charge of one minute; answers the coins returned. A charge that has not arrived
    /// is answered by a tombstone under its own id, so that it finds its place taken when it comes.
    pub async fn void(&self, call_id: i64, minute: i32, user_id: i64) -> Result<i64, WalletError> {
        if call_id < 1 || minute < 1 || user_id < 1 {
            return Err(WalletError::OutOfRange("call_id, minute or user_id"));
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        wallets::ensure(&mut tx, &[user_id], now).await?;
        let balance_coins = wallets::lock(&mut tx, &[user_id])
            .await?
            .get(&user_id)
            .map_or(0, |wallet| wallet.balance_coins);
        let found = transfers::find(&mut tx, &charge_id(call_id, minute)).await?;
        let returned_coins = match found {
            None => {
                post_tombstone(&mut tx, now, call_id, minute, balance_coins).await?;
                0
            }
            Some(tombstone) if tombstone.coins == 0 => 0,
            Some(found) => {
                let charge = Charge {
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
                return_coins(&mut tx, now, &charge, balance_coins).await?
            }
        };
        tx.commit().await?;
        Ok(returned_coins)
    }
}

async fn post_tombstone(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    call_id: i64,
    minute: i32,
    balance_coins: i64,
) -> sqlx::Result<()> {
    let tombstone = Posting {
        transfer_id: charge_id(call_id, minute),
        kind: TransferKind::Void,
        content: "voided before it came".to_owned(),
        call_id: Some(call_id),
        coins: 0,
        paise: 0,
        balance_coins,
        entries: vec![],
        transactions: vec![],
    };
    posting::post(tx, now, &[tombstone]).await?;
    Ok(())
}

async fn return_coins(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    charge: &Charge,
    balance_coins: i64,
) -> sqlx::Result<i64> {
    let was_undone = transfers::find(tx, &void_id(charge.call_id, charge.minute))
        .await?
        .is_some();
    if !was_undone {
        posting::post(tx, now, &[undoing(charge, balance_coins + charge.coins)]).await?;
    }
    Ok(charge.coins)
}

/// The transfer that gives back what a charge took, and leaves this balance.
pub(super) fn undoing(charge: &Charge, balance_coins: i64) -> Posting {
    let Charge {
        call_id,
        minute,
        user_id,
        coins,
    } = *charge;
    Posting {
        transfer_id: void_id(call_id, minute),
        kind: TransferKind::Void,
        content: format!("user {user_id} gets {coins} coins back"),
        call_id: Some(call_id),
        coins,
        paise: 0,
        balance_coins,
        entries: vec![Entry {
            ledger: journal::Ledger::Coins,
            debit: Account::CoinRevenue,
            credit: Account::User(user_id),
            amount: coins,
        }],
        transactions: vec![Transaction {
            user_id,
            tx_type: "refund",
            coins_change: coins,
            money_change_paise: 0,
            description: format!("Minute {minute} of call {call_id}, returned"),
        }],
    }
}
