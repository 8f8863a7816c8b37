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
use crate::domain::history::TxType;
use crate::domain::journal::{self, Account, Entry, TransferKind};
use crate::domain::settlement::{Plan, Settlement};
use crate::observe;
use crate::store::posting::{self, Change, Line, Posting};
use crate::store::wallets::Wallet;
use crate::store::{earnings, transfers, wallets};

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
        let mut locked = wallets::lock(&mut tx, &parties).await?;
        if let Some(settled) = settled_before(&mut tx, settlement).await? {
            return Ok(settled);
        }
        let charged = transfers::charged_minutes(&mut tx, settlement.call_id).await?;
        let plan = settlement.plan(&charged)?;

        let (postings, settled) = postings(settlement, &plan, &locked);
        posting::post(&mut tx, now, &mut locked, &postings).await?;
        let listener = locked[&settlement.listener_id];
        if !listener.is_closed {
            if settlement.minutes > 0 {
                earnings::insert(&mut tx, settlement, &plan, now).await?;
            }
            append_event(&mut tx, now, settlement, &plan, &listener).await?;
        }
        failpoint::reach("wallet.settle.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.settle.committed");
        self.relay.wake();
        observe::paise_earned(settled.listener_paise);
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
    let caller = &locked[&caller_id];
    let mut postings = Vec::new();
    let mut returned_coins = 0;
    for charged in &plan.returned {
        let charge = Charge {
            call_id,
            minute: charged.minute,
            user_id: caller_id,
            coins: charged.coins,
        };
        let undoing = undoing(&charge, caller, returned_coins);
        returned_coins += undoing.change.coins;
        postings.push(undoing);
    }
    let settled = Settled {
        coins_spent: plan.coins_spent,
        listener_paise: plan.listener_paise,
        caller_balance_coins: caller.balance_coins + returned_coins,
    };
    postings.push(earning(
        settlement,
        settled,
        &locked[&settlement.listener_id],
    ));
    (postings, settled)
}

/// The transfer that pays the listener. What somebody earned who is gone stays with the platform.
fn earning(settlement: &Settlement, settled: Settled, listener: &Wallet) -> Posting {
    let paise = settled.listener_paise;
    let (credit, earned_paise) = if listener.is_closed {
        (Account::Forfeited, 0)
    } else {
        (Account::User(listener.user_id), paise)
    };
    let entry = Entry {
        ledger: journal::Ledger::Paise,
        debit: Account::ListenerCost,
        credit,
        amount: paise,
    };
    let line = Line {
        tx_type: TxType::Earn,
        coins_change: 0,
        money_change_paise: paise,
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
        paise,
        balance_coins: settled.caller_balance_coins,
        // Nothing moves for a listener whose minute is worth nothing.
        entries: if paise > 0 { vec![entry] } else { vec![] },
        owner_id: listener.user_id,
        change: Change {
            withdrawable_paise: earned_paise,
            earned_paise,
            events: 1,
            ..Change::default()
        },
        // A call that was taken back is none that anybody earned with.
        line: (!listener.is_closed && settlement.minutes > 0).then_some(line),
    }
}

async fn append_event(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    settlement: &Settlement,
    plan: &Plan,
    listener: &Wallet,
) -> sqlx::Result<()> {
    let listener_id = listener.user_id;
    let version = listener.version + 1;
    let earned = Earned {
        user_id: listener_id,
        paise: plan.listener_paise,
        transfer_id: settlement.id(),
    };
    outbox::append(tx, listener_id, version, now, Kind::Earned(earned)).await
}
