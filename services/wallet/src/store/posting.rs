//! Posting: transfers, journal, balances and history in one statement, and with calls also the events and earnings.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres};
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, column, expect_row_count};
use talktime_kit::messaging::outbox::OutboxColumns;

use super::earnings::NewCallEarning;
use super::wallets::LockedWallet;
use crate::domain::chain::{ChainHead, ChainLink, JournalRow};
use crate::domain::journal::JournalEntry;
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::domain::settlement::CallType;

/// The update of one wallet by all postings of a statement.
struct WalletUpdate {
    owner_id: i64,
    change: WalletChange,
    head: ChainHead,
}

/// Posts many transfers at once, each as the next link of its owner's chain. `wallets` holds the locked
/// wallets of all owners; the ends of their chains are updated in it. Returns the transaction id of each
/// transfer that has a line. A transfer id that exists already is a unique violation, since callers look it
/// up under the lock.
///
/// # Errors
/// An internal error if the wallet of an owner does not exist, or a line was not inserted; otherwise the failure of the
/// statement.
pub async fn post_all(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    wallets: &mut HashMap<i64, LockedWallet>,
    postings: &[Posting],
) -> Result<HashMap<String, i64>, Error> {
    if postings.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = PostingRows::build(now, wallets, postings);
    let effect = rows.bind(POST, now).fetch_all(tx).await?;
    rows.verify_effect(effect)
}

/// Posts charges as [`post_all`] does, and appends the events that report them. If one of the transfers
/// `unless_made` exists, nothing is written and the result is `None`. This is decided by a snapshot that was taken under
/// the locks of the wallets, so whatever another transaction has posted under them before is seen.
///
/// # Errors
/// As [`post_all`].
pub async fn post_charges(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    wallets: &mut HashMap<i64, LockedWallet>,
    postings: &[Posting],
    events: OutboxColumns,
    unless_made: &[String],
) -> Result<Option<HashMap<String, i64>>, Error> {
    if postings.is_empty() {
        return Ok(Some(HashMap::new()));
    }
    let rows = PostingRows::build(now, wallets, postings);
    let effect = bind_events(rows.bind(POST_CHARGES, now), events)
        .bind(unless_made)
        .fetch_all(tx)
        .await?;
    if effect.is_empty() && !unless_made.is_empty() {
        return Ok(None);
    }
    rows.verify_effect(effect).map(Some)
}

/// Posts settlements as [`post_all`] does, inserts the earnings of their calls, and appends the events that report them.
///
/// # Errors
/// As [`post_all`], also if an earning was not inserted.
pub async fn post_settlements(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    wallets: &mut HashMap<i64, LockedWallet>,
    postings: &[Posting],
    events: OutboxColumns,
    earnings: &[NewCallEarning],
) -> Result<(), Error> {
    if postings.is_empty() {
        return Ok(());
    }
    let rows = PostingRows::build(now, wallets, postings);
    let query = bind_events(rows.bind(POST_SETTLEMENTS, now), events);
    let effect = bind_earnings(query, earnings).fetch_all(tx).await?;
    let earned: HashSet<i64> = effect.iter().filter_map(|row| row.earned_call).collect();
    for (settlement, _) in earnings {
        let call_id = settlement.call_id;
        let inserted = u64::from(earned.contains(&call_id));
        expect_row_count(inserted, 1, "wallet.call_earnings", call_id)?;
    }
    rows.verify_effect(effect)?;
    Ok(())
}

/// A statement that posts, with a part of its parameters.
type PostingQuery<'a> = QueryAs<'a, Postgres, PostingResultRow, PgArguments>;

/// The rows that postings become.
struct PostingRows<'a> {
    postings: &'a [Posting],
    heads: Vec<ChainHead>,
    updates: Vec<WalletUpdate>,
    entries: Vec<(&'a Posting, &'a JournalEntry)>,
    lines: Vec<(&'a Posting, &'a NewHistoryLine)>,
}

impl<'a> PostingRows<'a> {
    /// Appends the postings to the chains of their owners in `wallets`, and builds the rows.
    fn build(
        now: DateTime<Utc>,
        wallets: &mut HashMap<i64, LockedWallet>,
        postings: &'a [Posting],
    ) -> Self {
        let heads = postings
            .iter()
            .map(|posting| append_to_chain(now, wallets, posting))
            .collect();
        let entries = postings
            .iter()
            .flat_map(|posting| posting.entries.iter().map(move |entry| (posting, entry)));
        let lines = postings
            .iter()
            .filter_map(|posting| posting.line.as_ref().map(|line| (posting, line)));
        Self {
            postings,
            heads,
            updates: sum_by_owner(postings, wallets),
            entries: entries.collect(),
            lines: lines.collect(),
        }
    }

    /// Binds the parameters that all statements have.
    fn bind(&self, statement: &'static str, now: DateTime<Utc>) -> PostingQuery<'_> {
        let Self {
            postings,
            heads,
            updates,
            entries,
            lines,
        } = self;
        sqlx::query_as(statement)
            .bind(now)
            .bind(column(postings, |posting| posting.transfer_id.as_str()))
            .bind(column(postings, |posting| posting.kind.name()))
            .bind(column(postings, |posting| posting.content.as_str()))
            .bind(column(postings, |posting| posting.call_id))
            .bind(column(postings, |posting| posting.coins))
            .bind(column(postings, |posting| posting.paise))
            .bind(column(postings, |posting| posting.balance_coins))
            .bind(column(postings, |posting| posting.owner_id))
            .bind(column(heads, |head| head.length))
            .bind(column(heads, |head| head.hash))
            .bind(column(entries, |(posting, _)| posting.transfer_id.as_str()))
            .bind(column(entries, |(_, entry)| entry.currency.name()))
            .bind(column(entries, |(_, entry)| entry.debit.to_string()))
            .bind(column(entries, |(_, entry)| entry.credit.to_string()))
            .bind(column(entries, |(_, entry)| entry.amount))
            .bind(column(lines, |(posting, _)| posting.transfer_id.as_str()))
            .bind(column(lines, |(posting, _)| posting.owner_id))
            .bind(column(lines, |(_, line)| line.tx_type.name()))
            .bind(column(lines, |(_, line)| line.coins_change))
            .bind(column(lines, |(_, line)| line.money_change_paise))
            .bind(column(lines, |(_, line)| line.description.as_str()))
            .bind(column(lines, |(posting, _)| posting.call_id))
            .bind(column(updates, |update| update.owner_id))
            .bind(column(updates, |update| update.change.coins))
            .bind(column(updates, |update| update.change.debt_coins))
            .bind(column(updates, |update| update.change.withdrawable_paise))
            .bind(column(updates, |update| update.change.earned_paise))
            .bind(column(updates, |update| update.change.pending_paise))
            .bind(column(updates, |update| update.change.withdrawn_paise))
            .bind(column(updates, |update| update.change.events))
            .bind(column(updates, |update| update.head.length))
            .bind(column(updates, |update| update.head.hash))
            .bind(column(postings, Posting::bonus_coins))
            .bind(column(updates, |update| update.change.bonus_coins))
    }

    /// Checks that every owner's wallet was updated and every line inserted; returns the transaction id of each
    /// transfer that has a line.
    fn verify_effect(&self, effect: Vec<PostingResultRow>) -> Result<HashMap<String, i64>, Error> {
        let owners: HashSet<i64> = effect.iter().filter_map(|row| row.updated_owner).collect();
        for update in &self.updates {
            let updated = u64::from(owners.contains(&update.owner_id));
            expect_row_count(updated, 1, "wallet.user_wallets", update.owner_id)?;
        }
        let transaction_ids: HashMap<String, i64> = effect
            .into_iter()
            .filter_map(|row| row.transfer_id.zip(row.transaction_id))
            .collect();
        for (posting, _) in &self.lines {
            let transfer_id = &posting.transfer_id;
            let inserted = u64::from(transaction_ids.contains_key(transfer_id));
            expect_row_count(inserted, 1, "wallet.user_transactions", transfer_id)?;
        }
        Ok(transaction_ids)
    }
}

/// Binds the events of [`POST_CHARGES`] and [`POST_SETTLEMENTS`].
fn bind_events(query: PostingQuery<'_>, events: OutboxColumns) -> PostingQuery<'_> {
    query
        .bind(events.subjects)
        .bind(events.aggregate_ids)
        .bind(events.payloads)
        .bind(events.traceparents)
}

/// Binds the earnings of [`POST_SETTLEMENTS`].
fn bind_earnings<'a>(query: PostingQuery<'a>, earnings: &'a [NewCallEarning]) -> PostingQuery<'a> {
    query
        .bind(column(earnings, |(settlement, _)| settlement.call_id))
        .bind(column(earnings, |(settlement, _)| settlement.listener_id))
        .bind(column(earnings, |(settlement, _)| settlement.caller_id))
        .bind(column(earnings, |(settlement, _)| {
            settlement.call_type.map(CallType::name)
        }))
        .bind(column(earnings, |(settlement, _)| {
            settlement.earned_minutes()
        }))
        .bind(column(earnings, |(_, plan)| plan.coins_spent))
        .bind(column(earnings, |(_, plan)| plan.bonus_coins))
        .bind(column(earnings, |(_, plan)| plan.listener_paise))
        .bind(column(earnings, |(_, plan)| plan.bonus_paise))
}

/// A row that a posting statement returns: a line or an earning that was inserted, or the owner of a wallet that was
/// updated.
#[derive(FromRow)]
struct PostingResultRow {
    transfer_id: Option<String>,
    transaction_id: Option<i64>,
    updated_owner: Option<i64>,
    earned_call: Option<i64>,
}

/// Appends a posting to its owner's chain.
fn append_to_chain(
    now: DateTime<Utc>,
    wallets: &mut HashMap<i64, LockedWallet>,
    posting: &Posting,
) -> ChainHead {
    let names: Vec<(String, String)> = posting
        .entries
        .iter()
        .map(|entry| (entry.debit.to_string(), entry.credit.to_string()))
        .collect();
    let movements = posting.entries.iter().zip(&names);
    let link = ChainLink {
        transfer_id: &posting.transfer_id,
        kind: posting.kind.name(),
        content: &posting.content,
        call_id: posting.call_id,
        coins: posting.coins,
        paise: posting.paise,
        balance_coins: posting.balance_coins,
        created_at: now,
        movements: movements
            .map(|(entry, (debit, credit))| JournalRow {
                ledger: entry.currency.name(),
                debit,
                credit,
                amount: entry.amount,
            })
            .collect(),
    };
    let wallet = wallets
        .get_mut(&posting.owner_id)
        .expect("the owner of a posting is locked");
    wallet.chain = wallet.chain.append_link(&link);
    wallet.chain
}

/// Sums the changes by owner.
fn sum_by_owner(postings: &[Posting], wallets: &HashMap<i64, LockedWallet>) -> Vec<WalletUpdate> {
    let mut changes: HashMap<i64, WalletChange> = HashMap::new();
    for posting in postings {
        let sum = changes.entry(posting.owner_id).or_default();
        sum.coins += posting.change.coins;
        sum.bonus_coins += posting.change.bonus_coins;
        sum.debt_coins += posting.change.debt_coins;
        sum.withdrawable_paise += posting.change.withdrawable_paise;
        sum.earned_paise += posting.change.earned_paise;
        sum.pending_paise += posting.change.pending_paise;
        sum.withdrawn_paise += posting.change.withdrawn_paise;
        sum.events += posting.change.events;
    }
    let updates = changes.into_iter().map(|(owner_id, change)| WalletUpdate {
        owner_id,
        change,
        head: wallets[&owner_id].chain,
    });
    updates.collect()
}

/// A statement that posts: one round trip whatever the number of transfers. Parts of one statement see the same snapshot,
/// and foreign keys are checked at its end. `$parts` are further parts of the statement, `$condition` is that of every row
/// to be inserted or updated, and `$results` are the rows that the further parts return.
macro_rules! post {
    ($parts:literal, $condition:literal, $results:literal) => {
        concat!(
            "WITH ",
            $parts,
            "transfer AS (
    INSERT INTO wallet.transfers
        (transfer_id, kind, content, call_id, coins, paise, balance_coins, owner_id, chain_position,
         chain_hash, bonus_coins, created_at)
    SELECT posting.*, $1
    FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[], $34::bigint[]) AS posting ",
            $condition,
            "
), entry AS (
    INSERT INTO wallet.journal
        (transfer_id, ledger, debit_account, credit_account, amount, created_at)
    SELECT entry.*, $1
    FROM unnest($12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[]) AS entry ",
            $condition,
            "
), line AS (
    SELECT * FROM unnest($17::text[], $18::bigint[], $19::text[], $20::bigint[], $21::bigint[],
                         $22::text[], $23::bigint[])
         AS line (transfer_id, user_id, tx_type, coins_change, paise, description, call_id) ",
            $condition,
            "
), moved AS (
    SELECT * FROM unnest($24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[],
                         $29::bigint[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bytea[],
                         $35::bigint[])
         AS moved (owner_id, coins, debt, withdrawable, earned, pending, withdrawn, events,
                   chain_length, chain_hash, bonus) ",
            $condition,
            "
), balance AS (
    UPDATE wallet.user_wallets AS w
    SET balance_coins = w.balance_coins + moved.coins,
        bonus_coins = w.bonus_coins + moved.bonus,
        debt_coins = w.debt_coins + moved.debt,
        withdrawable_money = w.withdrawable_money + moved.withdrawable::numeric / 100,
        total_earned = w.total_earned + moved.earned::numeric / 100,
        pending_withdrawals = w.pending_withdrawals + moved.pending::numeric / 100,
        total_withdrawn = w.total_withdrawn + moved.withdrawn::numeric / 100,
        version = w.version + moved.events,
        chain_length = moved.chain_length,
        chain_hash = moved.chain_hash,
        updated_at = $1
    FROM moved WHERE w.user_id = moved.owner_id
    RETURNING w.user_id
), closed AS (
    UPDATE wallet.closed_wallets AS c
    SET debt_coins = c.debt_coins + moved.debt,
        chain_length = moved.chain_length, chain_hash = moved.chain_hash
    FROM moved WHERE c.owner_id = moved.owner_id
    RETURNING c.owner_id
), inserted AS (
    INSERT INTO wallet.user_transactions
        (wallet_id, tx_type, coins_change, money_change, description, call_id, transfer_id,
         created_at, updated_at)
    SELECT w.wallet_id, line.tx_type, line.coins_change, line.paise::numeric / 100, line.description,
           line.call_id, line.transfer_id, $1, $1
    FROM line JOIN wallet.user_wallets AS w USING (user_id)
    RETURNING transfer_id, transaction_id
)
SELECT transfer_id, transaction_id, NULL::bigint AS updated_owner, NULL::bigint AS earned_call
FROM inserted
UNION ALL SELECT NULL, NULL, user_id, NULL FROM balance
UNION ALL SELECT NULL, NULL, owner_id, NULL FROM closed",
            $results
        )
    };
}

const POST: &str = post!("", "", "");

/// The events go to the outbox in the same statement. If one of the transfers `$40` exists, no part has rows.
const POST_CHARGES: &str = post!(
    "made AS (
    SELECT transfer_id FROM wallet.transfers WHERE transfer_id = ANY($40)
), reported AS (
    INSERT INTO wallet.outbox (subject, aggregate_id, payload, traceparent)
    SELECT event.* FROM unnest($36::text[], $37::bigint[], $38::bytea[], $39::text[]) AS event
    WHERE NOT EXISTS (SELECT FROM made)
), ",
    "WHERE NOT EXISTS (SELECT FROM made)",
    ""
);

/// The events go to the outbox, and the earnings to the lists of listeners, in the same statement. Each call has one
/// earning, since its settlement is posted once.
const POST_SETTLEMENTS: &str = post!(
    "reported AS (
    INSERT INTO wallet.outbox (subject, aggregate_id, payload, traceparent)
    SELECT event.* FROM unnest($36::text[], $37::bigint[], $38::bytea[], $39::text[]) AS event
), earning AS (
    INSERT INTO wallet.call_earnings
        (call_id, listener_id, caller_id, call_type, minutes, coins, bonus_coins, money, bonus_money,
         created_at)
    SELECT call_id, listener_id, caller_id, call_type, minutes, coins, bonus_coins,
           paise::numeric / 100, bonus_paise::numeric / 100, $1
    FROM unnest($40::bigint[], $41::bigint[], $42::bigint[], $43::text[], $44::integer[],
                $45::bigint[], $46::bigint[], $47::bigint[], $48::bigint[])
         AS earned (call_id, listener_id, caller_id, call_type, minutes, coins, bonus_coins, paise,
                    bonus_paise)
    RETURNING call_id
), ",
    "",
    " UNION ALL SELECT NULL, NULL, NULL, call_id FROM earning"
);
