//! Posting: transfers, journal, balances and history in one statement.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::journal::{Entry, TransferKind};

/// A transfer and all that follows from it.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The id that its caller made.
    pub transfer_id: String,
    /// Why money moves.
    pub kind: TransferKind,
    /// What the id stands for.
    pub content: String,
    /// The call, if it is about one.
    pub call_id: Option<i64>,
    /// Coins that move, for a replayed answer.
    pub coins: i64,
    /// Paise that move, for a replayed answer.
    pub paise: i64,
    /// The payer's coins afterwards, for a replayed answer.
    pub balance_coins: i64,
    /// The journal's rows.
    pub entries: Vec<Entry>,
    /// What people see of it, and how their balances change.
    pub transactions: Vec<Transaction>,
}

/// A line in a person's history; the person's balance changes by the same amounts.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Whose history.
    pub user_id: i64,
    /// `purchase`, `spend`, `earn` or `refund`.
    pub tx_type: &'static str,
    /// Change of the coin balance.
    pub coins_change: i64,
    /// Rupees paid or earned, in paise. Only `earn` changes what may be withdrawn: a purchase's
    /// rupees went to the payment provider.
    pub money_change_paise: i64,
    /// For people.
    pub description: String,
}

/// Posts many transfers at once; answers the id of each transfer's transaction (its first, where
/// it has several). A transfer id that exists already is a unique violation: whoever posts has
/// looked under the wallet's lock.
pub async fn post(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    postings: &[Posting],
) -> sqlx::Result<HashMap<String, i64>> {
    if postings.is_empty() {
        return Ok(HashMap::new());
    }
    let entries: Vec<(&str, &Entry)> = flatten(postings, |posting| &posting.entries);
    let lines: Vec<(&str, &Transaction)> = flatten(postings, |posting| &posting.transactions);
    let call_ids: HashMap<&str, Option<i64>> = postings
        .iter()
        .map(|posting| (posting.transfer_id.as_str(), posting.call_id))
        .collect();
    let made: Vec<(String, i64)> = sqlx::query_as(POST)
        .bind(now)
        .bind(column(postings, |posting| posting.transfer_id.as_str()))
        .bind(column(postings, |posting| posting.kind.name()))
        .bind(column(postings, |posting| posting.content.as_str()))
        .bind(column(postings, |posting| posting.call_id))
        .bind(column(postings, |posting| posting.coins))
        .bind(column(postings, |posting| posting.paise))
        .bind(column(postings, |posting| posting.balance_coins))
        .bind(column(&entries, |(transfer_id, _)| *transfer_id))
        .bind(column(&entries, |(_, entry)| entry.ledger.name()))
        .bind(column(&entries, |(_, entry)| entry.debit.to_string()))
        .bind(column(&entries, |(_, entry)| entry.credit.to_string()))
        .bind(column(&entries, |(_, entry)| entry.amount))
        .bind(column(&lines, |(transfer_id, _)| *transfer_id))
        .bind(column(&lines, |(_, line)| line.user_id))
        .bind(column(&lines, |(_, line)| line.tx_type))
        .bind(column(&lines, |(_, line)| line.coins_change))
        .bind(column(&lines, |(_, line)| line.money_change_paise))
        .bind(column(&lines, |(_, line)| line.description.as_str()))
        .bind(column(&lines, |(transfer_id, _)| call_ids[transfer_id]))
        .fetch_all(tx)
        .await?;
    let mut first = HashMap::new();
    for (transfer_id, transaction_id) in made {
        let kept = first.entry(transfer_id).or_insert(transaction_id);
        *kept = (*kept).min(transaction_id);
    }
    Ok(first)
}

fn flatten<'a, T>(
    postings: &'a [Posting],
    of: impl Fn(&'a Posting) -> &'a Vec<T>,
) -> Vec<(&'a str, &'a T)> {
    postings
        .iter()
        .flat_map(|posting| {
            of(posting)
                .iter()
                .map(|item| (posting.transfer_id.as_str(), item))
        })
        .collect()
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// One round trip whatever the number of transfers. Parts of one statement see the same snapshot,
/// and foreign keys are checked at its end.
const POST: &str = "
WITH transfer AS (
    INSERT INTO wallet.transfers
        (transfer_id, kind, content, call_id, coins, paise, balance_coins, created_at)
    SELECT transfer_id, kind, content, call_id, coins, paise, balance_coins, $1
    FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[])
         AS posting (transfer_id, kind, content, call_id, coins, paise, balance_coins)
), entry AS (
    INSERT INTO wallet.journal
        (transfer_id, ledger, debit_account, credit_account, amount, created_at)
    SELECT transfer_id, ledger, debit_account, credit_account, amount, $1
    FROM unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[])
         AS entry (transfer_id, ledger, debit_account, credit_account, amount)
), line AS (
    SELECT * FROM unnest($14::text[], $15::bigint[], $16::text[], $17::bigint[], $18::bigint[],
                         $19::text[], $20::bigint[])
         AS line (transfer_id, user_id, tx_type, coins_change, paise, description, call_id)
), balance AS (
    UPDATE wallet.user_wallets AS w
    SET balance_coins = w.balance_coins + change.coins,
        withdrawable_money = w.withdrawable_money + change.earned_paise / 100,
        total_earned = w.total_earned + change.earned_paise / 100,
        version = w.version + change.events,
        updated_at = $1
    FROM (SELECT user_id, sum(coins_change) AS coins, count(*) AS events,
                 COALESCE(sum(paise) FILTER (WHERE tx_type = 'earn'), 0) AS earned_paise
          FROM line GROUP BY user_id) AS change
    WHERE w.user_id = change.user_id
)
INSERT INTO wallet.user_transactions
    (wallet_id, tx_type, coins_change, money_change, description, call_id, transfer_id,
     created_at, updated_at)
SELECT w.wallet_id, line.tx_type, line.coins_change, line.paise::numeric / 100, line.description,
       line.call_id, line.transfer_id, $1, $1
FROM line JOIN wallet.user_wallets AS w USING (user_id)
RETURNING transfer_id, transaction_id";
