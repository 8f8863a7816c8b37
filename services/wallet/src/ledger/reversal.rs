//! A payment that went back takes its coins along: down to zero, the rest is a debt.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_kit::messaging::outbox;
use talktime_proto::events::v1::PaymentReversed;
use talktime_proto::events::v1::event::Kind;

use super::purchase::credit;
use crate::domain::WalletError;
use crate::domain::history::TxType;
use crate::domain::journal::{self, Account, Entry, TransferKind, reversal_id};
use crate::domain::payment::{Arrived, Order, Reversal, TakenBack};
use crate::store::posting::{self, Change, Line, Posting};
use crate::store::wallets::Wallet;
use crate::store::{payments, transfers, wallets};

/// Takes back what a reversed payment bought. A payment of which nobody told before is credited
/// first: the books show both.
pub(super) async fn reverse(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    arrived: &Arrived,
    reversal: &Reversal,
) -> Result<(), WalletError> {
    credit(tx, now, arrived).await?;
    // Locked by the crediting already, and read again as it left them.
    let order = payments::lock(tx, &arrived.order_id).await?;
    let order = order.ok_or(WalletError::Unpaid)?;
    let mut locked = wallets::lock(tx, &[order.user_id]).await?;
    let wallet = locked[&order.user_id];
    let transfer_id = reversal_id(&arrived.payment_id, &reversal.reversal_id);
    if transfers::find(tx, &transfer_id).await?.is_some() {
        return Ok(());
    }
    let back = order.take_back(reversal.amount_paise);
    if back.paise == 0 {
        return Ok(());
    }
    let taken_coins = back.coins.min(wallet.balance_coins);
    let posting = taking_back(&wallet, transfer_id, back, taken_coins, reversal);
    posting::post(tx, now, &mut locked, &[posting]).await?;
    payments::reversed(tx, &order.order_id, back).await?;
    tell(tx, now, &wallet, &order, back, taken_coins, reversal).await?;
    Ok(())
}

fn taking_back(
    wallet: &Wallet,
    transfer_id: String,
    back: TakenBack,
    taken_coins: i64,
    reversal: &Reversal,
) -> Posting {
    let user_id = wallet.user_id;
    let owed_coins = back.coins - taken_coins;
    let movements = [
        (
            journal::Ledger::Coins,
            Account::User(user_id),
            Account::CoinIssue,
            taken_coins,
        ),
        (
            journal::Ledger::Coins,
            Account::UserDebt(user_id),
            Account::CoinIssue,
            owed_coins,
        ),
        (
            journal::Ledger::Paise,
            Account::CoinSales,
            Account::GatewayClearing,
            back.paise,
        ),
    ];
    let entries = movements
        .into_iter()
        .filter(|(.., amount)| *amount > 0)
        .map(|(ledger, debit, credit, amount)| Entry {
            ledger,
            debit,
            credit,
            amount,
        });
    Posting {
        transfer_id,
        kind: TransferKind::PaymentReversal,
        content: format!(
            "{} of {} paise takes {} coins from user {user_id}",
            reversal.reason.name(),
            back.paise,
            back.coins
        ),
        call_id: None,
        coins: back.coins,
        paise: back.paise,
        balance_coins: wallet.balance_coins - taken_coins,
        entries: entries.collect(),
        owner_id: user_id,
        change: Change {
            coins: -taken_coins,
            debt_coins: owed_coins,
            events: 1,
            ..Change::default()
        },
        line: Some(Line {
            tx_type: TxType::Refund,
            coins_change: -taken_coins,
            money_change_paise: -back.paise,
            description: format!("A payment went back ({})", reversal.reason.name()),
        }),
    }
}

async fn tell(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    wallet: &Wallet,
    order: &Order,
    back: TakenBack,
    taken_coins: i64,
    reversal: &Reversal,
) -> sqlx::Result<()> {
    let reversed = PaymentReversed {
        user_id: wallet.user_id,
        order_id: order.order_id.clone(),
        reason: reversal.reason.name().to_owned(),
        coins_taken: taken_coins,
        debt_coins: wallet.debt_coins + back.coins - taken_coins,
        balance_coins: wallet.balance_coins - taken_coins,
    };
    let version = wallet.version + 1;
    let kind = Kind::PaymentReversed(reversed);
    outbox::append(tx, wallet.user_id, version, now, kind).await
}
