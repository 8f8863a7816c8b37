//! Closing the books of a call: the listener earns, minutes beyond the count are returned.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_kit::failpoint;
use talktime_kit::messaging::outbox;
use talktime_proto::events::v1::Earned;
use talktime_proto::events::v1::event::Kind;

use super::Ledger;
use super::void::undoing;
use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::domain::journal::{self, Account, Entry, TransferKind};
use crate::domain::settlement::{Plan, Settlement};
use crate::store::posting::{self, Posting, Transaction};
use crate::store::wallets::Wallet;
use crate::store::{transfers, wallets};

/// What a settlement came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settled {
    /// What the caller paid.
    pub coins_spent: i64,
    /// What the listener earned.
    pub listener_paise: i64,
    /// The caller's coins right after it.
    pub caller_balance_coins: i64,
}

impl Ledger {
    /// Settles a call once; the same settlement again answers as the first time.
    pub async fn settle(&self, settlement: &Settlement) -> Result<Settled, WalletError> {
        let now = self.clock.now();
        let parties = [settlement.caller_id, settlement.listener_id];
        let mut tx = self.db.begin().await?;
        wallets::ensure(&mut tx, &parties, now).await?;
        let locked = wallets::lock(&mut tx, &parties).await?;
        if let Some(settled) = settled_before(&mut tx, settlement).await? {
            return Ok(settled);
        }
        let charged = transfers::charged_minutes(&mut tx, settlement.call_id).await?;
        let plan = settlement.plan(&charged)?;

        let (postings, settled) = postings(settlement, &plan, &locked);
        posting::post(&mut tx, now, &postings).await?;
        append_event(&mut tx, now, settlement, &plan, &locked).await?;
        failpoint::reach("wallet.settle.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.settle.committed");
        self.relay.wake();
        Ok(settled)
    }
}

async fn settled_before(
    tx: &mut PgConnection,
    settlement: &Settlement,
) -> Result<Option<Settled>, WalletError> {
    let Some(first) = transfers::find(tx, &settlement.id()).await? else {
        return Ok(None);
    };
    if first.content != settlement.content() {
        return Err(WalletError::TransferMismatch {
            transfer_id: settlement.id(),
        });
    }
    Ok(Some(Settled {
        coins_spent: first.coins,
        listener_paise: first.paise,
        caller_balance_coins: first.balance_coins,
    }))
}

fn postings(
    settlement: &Settlement,
    plan: &Plan,
    locked: &HashMap<i64, Wallet>,
) -> (Vec<Posting>, Settled) {
    let Settlement {
        call_id, caller_id, ..
    } = *settlement;
    let mut caller_balance_coins = locked[&caller_id].balance_coins;
    let mut postings = Vec::new();
    for charged in &plan.returned {
        caller_balance_coins += charged.coins;
        let charge = Charge {
            call_id,
            minute: charged.minute,
            user_id: caller_id,
            coins: charged.coins,
        };
        postings.push(undoing(&charge, caller_balance_coins));
    }
    let settled = Settled {
        coins_spent: plan.coins_spent,
        listener_paise: plan.listener_paise,
        caller_balance_coins,
    };
    postings.push(earning(settlement, settled));
    (postings, settled)
}

fn earning(settlement: &Settlement, settled: Settled) -> Posting {
    let listener_id = settlement.listener_id;
    let entry = Entry {
        ledger: journal::Ledger::Paise,
        debit: Account::ListenerCost,
        credit: Account::User(listener_id),
        amount: settled.listener_paise,
    };
    let line = Transaction {
        user_id: listener_id,
        tx_type: "earn",
        coins_change: 0,
        money_change_paise: settled.listener_paise,
        description: format!(
            "{} minutes of call {}",
            settlement.minutes, settlement.call_id
        ),
    };
    Posting {
        transfer_id: settlement.id(),
        kind: TransferKind::Settlement,
        content: settlement.content(),
        call_id: Some(settlement.call_id),
        coins: settled.coins_spent,
        paise: settled.listener_paise,
        balance_coins: settled.caller_balance_coins,
        // Nothing moves for a listener whose minute is worth nothing.
        entries: if entry.amount > 0 {
            vec![entry]
        } else {
            vec![]
        },
        transactions: if settlement.minutes > 0 {
            vec![line]
        } else {
            vec![]
        },
    }
}

async fn append_event(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    settlement: &Settlement,
    plan: &Plan,
    locked: &HashMap<i64, Wallet>,
) -> sqlx::Result<()> {
    let listener_id = settlement.listener_id;
    let version = locked[&listener_id].version + 1;
    let earned = Earned {
        user_id: listener_id,
        paise: plan.listener_paise,
        transfer_id: settlement.id(),
    };
    outbox::append(tx, listener_id, version, now, Kind::Earned(earned)).await
}
