//! Charging minutes of calls, one or many in one transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox::{self, OutboxColumns};
use talktime_kit::{Error, failpoint};

use super::{TracedRequest, WalletLedger};
use crate::domain::WalletError;
use crate::domain::charging::{self, ChargeDecision, MinuteCharge, PastTransfer};
use crate::domain::history::TransactionType;
use crate::domain::journal::{JournalAccount, TransferKind, coin_entries};
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::events::{charged_event, low_balance_event};
use crate::metrics;
use crate::store::wallets::LockedWallets;
use crate::store::{posting, transfers, wallets};

/// The result of a charge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeOutcome {
    /// The coins were taken, now or by an earlier request.
    Charged {
        /// The payer's transaction.
        transaction_id: i64,
        /// The payer's coins right after it.
        balance_coins: i64,
        /// The part of the taken coins that was given and not bought.
        bonus_coins: i64,
    },
    /// The payer has too few coins.
    Insufficient {
        /// The payer's balance.
        available_coins: i64,
    },
    /// The charge was voided before it was made, or its call is settled: it takes no coins, now or later.
    Voided,
}

impl WalletLedger {
    /// Charges minutes in their order in one transaction, each with its own outcome.
    pub async fn charge_minutes(
        &self,
        batch: &[TracedRequest<MinuteCharge>],
    ) -> Result<Vec<ChargeOutcome>, WalletError> {
        let charges: Vec<MinuteCharge> = batch.iter().map(|item| item.request).collect();
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let payers = wallets::lock(&mut tx, &payer_ids(&charges)).await?;
        let posted = match post_if_new(&mut tx, now, batch, &charges, &payers).await? {
            Some(posted) => posted,
            None => post_remaining(&mut tx, now, batch, &charges, payers).await?,
        };
        failpoint::reach("wallet.charge.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.charge.committed");
        let PostedCharges {
            plan: ChargePlan {
                decisions,
                postings,
            },
            transaction_ids,
        } = posted;
        if !postings.is_empty() {
            self.relay.wake();
        }
        metrics::record_coins_charged(postings.iter().map(|posting| posting.coins).sum());
        let given_coins = postings.iter();
        let given_coins = given_coins.map(|made| (made.transfer_id.as_str(), made.bonus_coins()));
        let given_coins: HashMap<&str, i64> = given_coins.collect();
        let outcomes = charges.iter().zip(decisions);
        Ok(outcomes
            .map(|(charge, decision)| {
                charge_outcome(charge, decision, &transaction_ids, &given_coins)
            })
            .collect())
    }
}

/// The decisions about a batch of charges, and the transfers of those that are made.
struct ChargePlan {
    decisions: Vec<ChargeDecision>,
    postings: Vec<Posting>,
}

impl ChargePlan {
    /// Decides under the locks of the payers, given the transfers of [`charging::relevant_transfer_ids`] that were made
    /// before.
    fn decide(
        charges: &[MinuteCharge],
        payers: &LockedWallets,
        past: &HashMap<String, PastTransfer>,
    ) -> Result<Self, WalletError> {
        let balances = payers
            .values()
            .map(|w| (w.user_id, w.balance_coins))
            .collect();
        let decisions = charging::decide_charges(charges, &balances, past)?;
        Ok(Self {
            postings: charge_postings(charges, &decisions, payers),
            decisions,
        })
    }

    fn encode_events(
        &self,
        now: DateTime<Utc>,
        batch: &[TracedRequest<MinuteCharge>],
        payers: &LockedWallets,
    ) -> OutboxColumns {
        OutboxColumns::encode(now, charge_events(batch, &self.decisions, payers))
    }
}

/// A plan that is carried out, with the transaction ids of its transfers.
struct PostedCharges {
    plan: ChargePlan,
    transaction_ids: HashMap<String, i64>,
}

/// Posts a batch whose charges all come for the first time, as nearly all do. The statement that posts those that can be
/// paid finds out whether one of the batch was made, voided or settled before, which saves reading that first. Then it
/// writes nothing, and the result is `None`, as it is if nothing is to be posted.
async fn post_if_new(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    batch: &[TracedRequest<MinuteCharge>],
    charges: &[MinuteCharge],
    payers: &LockedWallets,
) -> Result<Option<PostedCharges>, WalletError> {
    let plan = ChargePlan::decide(charges, payers, &HashMap::new())?;
    if plan.postings.is_empty() {
        return Ok(None);
    }
    let events = plan.encode_events(now, batch, payers);
    // The chains grow in a copy, since nothing may be posted.
    let mut chained = payers.clone();
    let posted = posting::post_charges(
        tx,
        now,
        &mut chained,
        &plan.postings,
        events,
        &charging::relevant_transfer_ids(charges),
    )
    .await?;
    Ok(posted.map(|transaction_ids| PostedCharges {
        plan,
        transaction_ids,
    }))
}

/// Posts those charges of a batch that were not made, voided or settled before and can be paid.
async fn post_remaining(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    batch: &[TracedRequest<MinuteCharge>],
    charges: &[MinuteCharge],
    mut payers: LockedWallets,
) -> Result<PostedCharges, WalletError> {
    let past = transfers::find_past(tx, &charging::relevant_transfer_ids(charges)).await?;
    let plan = ChargePlan::decide(charges, &payers, &past)?;
    let events = plan.encode_events(now, batch, &payers);
    let posted = posting::post_charges(tx, now, &mut payers, &plan.postings, events, &[]).await?;
    let transaction_ids = posted
        .ok_or_else(|| Error::internal("charges were not posted, and nothing prevents it"))?;
    Ok(PostedCharges {
        plan,
        transaction_ids,
    })
}

/// The outcome of a charge. `transaction_ids` and `given_coins` are those of the charges that are made now, by transfer.
fn charge_outcome(
    charge: &MinuteCharge,
    decision: ChargeDecision,
    transaction_ids: &HashMap<String, i64>,
    given_coins: &HashMap<&str, i64>,
) -> ChargeOutcome {
    match decision {
        ChargeDecision::Accepted { balance_coins } => {
            let transfer_id = charge.id();
            ChargeOutcome::Charged {
                transaction_id: transaction_ids[&transfer_id],
                balance_coins,
                bonus_coins: given_coins[transfer_id.as_str()],
            }
        }
        ChargeDecision::AlreadyCharged {
            transaction_id,
            balance_coins,
            bonus_coins,
        } => ChargeOutcome::Charged {
            transaction_id,
            balance_coins,
            bonus_coins,
        },
        ChargeDecision::Insufficient { available_coins } => {
            ChargeOutcome::Insufficient { available_coins }
        }
        ChargeDecision::Voided => ChargeOutcome::Voided,
    }
}

fn payer_ids(charges: &[MinuteCharge]) -> Vec<i64> {
    charges.iter().map(|charge| charge.user_id).collect()
}

/// The charges that are made now, with the balances after them.
fn accepted_charges<'a>(
    charges: &'a [MinuteCharge],
    decisions: &'a [ChargeDecision],
) -> impl Iterator<Item = (&'a MinuteCharge, i64)> {
    charges
        .iter()
        .zip(decisions)
        .filter_map(|(charge, decision)| match *decision {
            ChargeDecision::Accepted { balance_coins } => Some((charge, balance_coins)),
            _ => None,
        })
}

/// The transfers of the accepted charges. Coins that were given are spent before those that were bought.
fn charge_postings(
    charges: &[MinuteCharge],
    decisions: &[ChargeDecision],
    payers: &LockedWallets,
) -> Vec<Posting> {
    let given = payers.values().map(|w| (w.user_id, w.given_coins()));
    let mut given_coins: HashMap<i64, i64> = given.collect();
    accepted_charges(charges, decisions)
        .map(|(charge, balance_coins)| {
            let left_coins = given_coins.entry(charge.user_id).or_default();
            let bonus_coins = charge.coins.min(*left_coins);
            *left_coins -= bonus_coins;
            charge_posting(charge, bonus_coins, balance_coins)
        })
        .collect()
}

fn charge_posting(charge: &MinuteCharge, bonus_coins: i64, balance_coins: i64) -> Posting {
    let (user_id, coins) = (charge.user_id, charge.coins);
    let revenue = JournalAccount::CoinRevenue;
    Posting {
        transfer_id: charge.id(),
        kind: TransferKind::Charge,
        content: charge.content(),
        call_id: Some(charge.call_id),
        coins,
        paise: 0,
        balance_coins,
        entries: coin_entries([
            (JournalAccount::UserBonus(user_id), revenue, bonus_coins),
            (JournalAccount::User(user_id), revenue, coins - bonus_coins),
        ]),
        owner_id: user_id,
        change: WalletChange {
            coins: -coins,
            bonus_coins: -bonus_coins,
            events: 1 + i64::from(charge.leaves_low_balance(balance_coins)),
            ..WalletChange::default()
        },
        line: Some(NewHistoryLine {
            tx_type: TransactionType::Spend,
            coins_change: -coins,
            money_change_paise: 0,
            description: format!("Minute {} of call {}", charge.minute, charge.call_id),
        }),
    }
}

fn charge_events(
    batch: &[TracedRequest<MinuteCharge>],
    decisions: &[ChargeDecision],
    payers: &LockedWallets,
) -> Vec<outbox::TracedEvent> {
    let versions = payers
        .values()
        .map(|wallet| (wallet.user_id, wallet.version));
    let mut versions: HashMap<i64, i64> = versions.collect();
    let mut events = Vec::new();
    for (item, decision) in batch.iter().zip(decisions) {
        let ChargeDecision::Accepted { balance_coins } = *decision else {
            continue;
        };
        let charge = &item.request;
        let user_id = charge.user_id;
        let mut append_event = |kind| {
            let version = versions.entry(user_id).or_default();
            *version += 1;
            events.push(((user_id, *version, kind), item.traceparent.clone()));
        };
        append_event(charged_event(charge, balance_coins));
        if charge.leaves_low_balance(balance_coins) {
            append_event(low_balance_event(user_id, balance_coins));
        }
    }
    events
}
