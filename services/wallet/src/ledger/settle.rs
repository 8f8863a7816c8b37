//! Settling calls: the listener earns, and minutes charged beyond the count are returned.

use std::collections::HashMap;

use talktime_kit::failpoint;
use talktime_kit::messaging::outbox::{self, OutboxColumns};

use super::void::void_posting;
use super::{TracedRequest, WalletLedger};
use crate::domain::WalletError;
use crate::domain::charging::MinuteCharge;
use crate::domain::history::TransactionType;
use crate::domain::journal::{JournalAccount, JournalCurrency, JournalEntry, TransferKind};
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::domain::settlement::{CallSettlement, ChargedMinute, SettlementPlan};
use crate::events::earned_event;
use crate::metrics;
use crate::store::earnings::NewCallEarning;
use crate::store::posting;
use crate::store::transfers::{self, TransferRecord};
use crate::store::wallets::LockedWallet;

/// The result of a settlement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SettlementOutcome {
    /// The coins that the caller paid.
    pub coins_spent: i64,
    /// The sum that the listener earned, in paise.
    pub listener_paise: i64,
    /// The caller's coins right after it.
    pub caller_balance_coins: i64,
}

impl WalletLedger {
    /// Settles calls in one transaction, each call once: the same settlement again gets the same answer. One
    /// refused settlement fails the whole batch.
    pub async fn settle_calls(
        &self,
        requests: &[TracedRequest<CallSettlement>],
    ) -> Result<Vec<SettlementOutcome>, WalletError> {
        let now = self.clock.now();
        let call_ids: Vec<i64> = requests.iter().map(|item| item.request.call_id).collect();
        let (mut tx, wallets) = self.begin_with_wallets(&party_ids(requests), now).await?;
        let made = transfers::find_of_calls(&mut tx, &call_ids).await?;
        let mut batch = SettlementBatch {
            wallets,
            past: made.settlements,
            charged: made.charged,
            bonus_earns: self.terms.bonus_earns,
            pending_writes: PendingSettlementWrites::default(),
        };
        let settled = requests
            .iter()
            .map(|item| batch.settle_one(item))
            .collect::<Result<Vec<SettlementOutcome>, WalletError>>()?;

        let SettlementBatch {
            mut wallets,
            pending_writes,
            ..
        } = batch;
        let earnings = pending_writes.earnings;
        let events = OutboxColumns::encode(now, pending_writes.events);
        posting::post_settlements(
            &mut tx,
            now,
            &mut wallets,
            &pending_writes.postings,
            events,
            &earnings,
        )
        .await?;
        failpoint::reach("wallet.settle.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.settle.committed");
        self.relay.wake();
        metrics::record_paise_earned(earnings.iter().map(|(_, plan)| plan.listener_paise).sum());
        Ok(settled)
    }
}

fn party_ids(requests: &[TracedRequest<CallSettlement>]) -> Vec<i64> {
    let parties = requests.iter().map(|item| &item.request);
    parties
        .flat_map(|settlement| [settlement.caller_id, settlement.listener_id])
        .collect()
}

/// The state that settlements of one batch are decided on; each one sees the effects of those before it.
struct SettlementBatch {
    wallets: HashMap<i64, LockedWallet>,
    past: HashMap<String, TransferRecord>,
    charged: HashMap<i64, Vec<ChargedMinute>>,
    bonus_earns: bool,
    pending_writes: PendingSettlementWrites,
}

/// Writes that the batch has collected.
#[derive(Default)]
struct PendingSettlementWrites {
    postings: Vec<Posting>,
    earnings: Vec<NewCallEarning>,
    events: Vec<outbox::TracedEvent>,
}

impl SettlementBatch {
    fn settle_one(
        &mut self,
        item: &TracedRequest<CallSettlement>,
    ) -> Result<SettlementOutcome, WalletError> {
        let settlement = &item.request;
        if let Some(settled) = self.find_earlier_settlement(settlement)? {
            return Ok(settled);
        }
        let charged = self.charged.get(&settlement.call_id);
        let plan = settlement.plan(charged.map_or(&[], Vec::as_slice), self.bonus_earns)?;
        self.void_uncounted_minutes(settlement, &plan);
        let settled = SettlementOutcome {
            coins_spent: plan.coins_spent,
            listener_paise: plan.listener_paise,
            caller_balance_coins: self.wallets[&settlement.caller_id].balance_coins,
        };
        let listener = self.wallets[&settlement.listener_id];
        self.add_posting(earning_posting(settlement, settled, &plan, &listener));
        if !listener.is_closed {
            let event = earned_event(settlement, &plan);
            let event = (listener.user_id, listener.version + 1, event);
            self.pending_writes
                .events
                .push((event, item.traceparent.clone()));
            if settlement.earned_minutes() > 0 {
                self.pending_writes
                    .earnings
                    .push((settlement.clone(), plan));
            }
        }
        Ok(settled)
    }

    fn find_earlier_settlement(
        &self,
        settlement: &CallSettlement,
    ) -> Result<Option<SettlementOutcome>, WalletError> {
        let Some(first) = self.past.get(&settlement.id()) else {
            return Ok(None);
        };
        if first.content != settlement.content() {
            return Err(WalletError::TransferMismatch {
                transfer_id: settlement.id(),
            });
        }
        Ok(Some(SettlementOutcome {
            coins_spent: first.coins,
            listener_paise: first.paise,
            caller_balance_coins: first.balance_coins,
        }))
    }

    /// Voids the charges of minutes beyond the settled count, and of those that are given back.
    fn void_uncounted_minutes(&mut self, settlement: &CallSettlement, plan: &SettlementPlan) {
        for charged in &plan.returned {
            let charge = MinuteCharge {
                call_id: settlement.call_id,
                minute: charged.minute,
                user_id: settlement.caller_id,
                coins: charged.coins,
            };
            let payer = &self.wallets[&settlement.caller_id];
            let posting = void_posting(&charge, charged.bonus_coins, payer);
            self.add_posting(posting);
        }
    }

    /// Collects a posting and applies it to the wallet in memory, so that later settlements see its effect.
    fn add_posting(&mut self, posting: Posting) {
        if let Some(wallet) = self.wallets.get_mut(&posting.owner_id) {
            wallet.balance_coins += posting.change.coins;
            wallet.bonus_coins += posting.change.bonus_coins;
            wallet.version += posting.change.events;
        }
        if posting.kind == TransferKind::Settlement {
            let transfer = TransferRecord {
                content: posting.content.clone(),
                coins: posting.coins,
                bonus_coins: posting.bonus_coins(),
                paise: posting.paise,
                balance_coins: posting.balance_coins,
            };
            self.past.insert(posting.transfer_id.clone(), transfer);
        }
        self.pending_writes.postings.push(posting);
    }
}

/// The transfer that pays the listener. Earnings of a deleted account are forfeited to the platform.
fn earning_posting(
    settlement: &CallSettlement,
    settled: SettlementOutcome,
    plan: &SettlementPlan,
    listener: &LockedWallet,
) -> Posting {
    let paise = settled.listener_paise;
    let (credit, earned_paise) = if listener.is_closed {
        (JournalAccount::Forfeited, 0)
    } else {
        (JournalAccount::User(listener.user_id), paise)
    };
    let entry = JournalEntry {
        currency: JournalCurrency::Paise,
        debit: JournalAccount::ListenerCost,
        credit,
        amount: paise,
    };
    let line = NewHistoryLine {
        tx_type: TransactionType::Earn,
        coins_change: 0,
        money_change_paise: paise,
        description: describe_earning(settlement, plan),
    };
    Posting {
        transfer_id: settlement.id(),
        kind: TransferKind::Settlement,
        content: settlement.content(),
        call_id: Some(settlement.call_id),
        coins: settled.coins_spent,
        paise,
        balance_coins: settled.caller_balance_coins,
        // A listener whose rate is zero earns nothing, and an entry must have an amount.
        entries: if paise > 0 { vec![entry] } else { vec![] },
        owner_id: listener.user_id,
        change: WalletChange {
            withdrawable_paise: earned_paise,
            earned_paise,
            events: 1,
            ..WalletChange::default()
        },
        // A call without paid minutes is no line in the history.
        line: (!listener.is_closed && settlement.earned_minutes() > 0).then_some(line),
    }
}

/// The text of the listener's line. It says why coins have brought nothing.
fn describe_earning(settlement: &CallSettlement, plan: &SettlementPlan) -> String {
    let (minutes, call_id) = (settlement.earned_minutes(), settlement.call_id);
    let minutes = format!("{minutes} minutes of call {call_id}");
    if plan.bonus_coins == 0 || plan.bonus_paise > 0 {
        return minutes;
    }
    let (bonus_coins, coins) = (plan.bonus_coins, plan.coins_spent);
    format!("{minutes}, paid with {bonus_coins} bonus coins of {coins}")
}
