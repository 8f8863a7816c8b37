//! Sums over the journal: the truth that balances follow.

use talktime_kit::db::{PgConnection, allow_full_scans};

use super::journal_totals::journal_totals;
use super::{audits, chains, history_sums};

/// Sums the coins that a deleted account left behind and that nothing has claimed since.
pub async fn sum_forfeited_coins(
    connection: &mut PgConnection,
    owner_id: i64,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT GREATEST(COALESCE(sum(
                    CASE WHEN credit_account = 'platform/forfeited' THEN amount ELSE -amount END),
                0), 0)::bigint
         FROM wallet.transfers JOIN wallet.journal USING (transfer_id, created_at)
         WHERE owner_id = $1 AND ledger = 'coins'
           AND 'platform/forfeited' IN (credit_account, debit_account)",
    )
    .bind(owner_id)
    .fetch_one(connection)
    .await
}

/// Finds wallets whose coins, bonus coins, debt or withdrawable rupees are not what the journal adds up to. Empty when the
/// books are right.
pub async fn find_mismatched_wallets(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(concat!(
        journal_totals!(),
        " SELECT w.user_id FROM wallet.user_wallets AS w
         LEFT JOIN total ON total.account = 'user/' || w.user_id
         LEFT JOIN total AS bonus ON bonus.account = 'user/' || w.user_id || '/bonus'
         LEFT JOIN total AS debt ON debt.account = 'user/' || w.user_id || '/debt'
         WHERE w.balance_coins <> COALESCE(total.coins, 0) + COALESCE(bonus.coins, 0)
            OR w.bonus_coins <> COALESCE(bonus.coins, 0)
            OR w.withdrawable_money * 100 <> COALESCE(total.paise, 0)
            OR w.debt_coins <> -COALESCE(debt.coins, 0)
         ORDER BY w.user_id",
    ))
    .fetch_all(connection)
    .await
}

/// Finds wallets whose history does not add up to their coins or to what they ever earned: a line is
/// missing, made up or changed.
pub async fn find_mismatched_histories(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "WITH history AS (
             SELECT wallet_id, sum(coins_change) AS coins,
                    COALESCE(sum(money_change) FILTER (WHERE tx_type = 'earn'), 0) AS earned
             FROM wallet.user_transactions GROUP BY wallet_id
         )
         SELECT w.user_id FROM wallet.user_wallets AS w LEFT JOIN history USING (wallet_id)
         WHERE w.balance_coins <> COALESCE(history.coins, 0)
            OR w.total_earned <> COALESCE(history.earned, 0)
         ORDER BY w.user_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds transfers whose journal rows differ from the amounts of the transfer: a row is missing, made up or
/// changed. A settlement's coins moved with its charges, so only its rupees are its own.
pub async fn find_mismatched_transfers(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "WITH moved AS (
             SELECT transfer_id, COALESCE(sum(amount) FILTER (WHERE ledger = 'coins'), 0) AS coins,
                    COALESCE(sum(amount) FILTER (WHERE ledger = 'paise'), 0) AS paise,
                    COALESCE(sum(amount) FILTER
                        (WHERE debit_account LIKE 'user/%/bonus' OR credit_account LIKE 'user/%/bonus'), 0)
                        AS bonus_coins
             FROM wallet.journal GROUP BY transfer_id
         )
         SELECT transfer_id FROM wallet.transfers AS transfer LEFT JOIN moved USING (transfer_id)
         WHERE transfer.paise <> COALESCE(moved.paise, 0)
            OR transfer.bonus_coins <> COALESCE(moved.bonus_coins, 0)
            OR CASE transfer.kind WHEN 'settlement' THEN 0 ELSE transfer.coins END
               <> COALESCE(moved.coins, 0)
         ORDER BY transfer_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds lines of histories that differ from what the journal's rows of their transfer did to the person's
/// coins. Sums alone do not reveal two lines that were changed by opposite amounts.
pub async fn find_mismatched_lines(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT line.transaction_id
         FROM wallet.user_transactions AS line JOIN wallet.user_wallets AS w USING (wallet_id)
         CROSS JOIN LATERAL (
             SELECT ARRAY['user/' || w.user_id, 'user/' || w.user_id || '/bonus'] AS accounts
         ) AS own
         LEFT JOIN LATERAL (
             SELECT sum(CASE WHEN credit_account = ANY(own.accounts) THEN amount ELSE -amount END)
                    AS coins
             FROM wallet.journal
             WHERE journal.transfer_id = line.transfer_id
               AND journal.created_at = line.created_at AND ledger = 'coins'
               AND (credit_account = ANY(own.accounts) OR debit_account = ANY(own.accounts))
         ) AS moved ON true
         WHERE line.coins_change <> COALESCE(moved.coins, 0)
         ORDER BY line.transaction_id",
    )
    .fetch_all(connection)
    .await
}

/// Finds wallets whose held or paid-out rupees are not what their withdrawals add up to.
pub async fn find_mismatched_withdrawals(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "WITH asked AS (
             SELECT user_id,
                    COALESCE(sum(amount) FILTER (WHERE status IN ('pending', 'processing')), 0)
                        AS pending,
                    COALESCE(sum(amount) FILTER (WHERE status = 'paid'), 0) AS paid
             FROM wallet.user_withdrawals GROUP BY user_id
         )
         SELECT w.user_id FROM wallet.user_wallets AS w LEFT JOIN asked USING (user_id)
         WHERE w.pending_withdrawals <> COALESCE(asked.pending, 0)
            OR w.total_withdrawn <> COALESCE(asked.paid, 0)
         ORDER BY w.user_id",
    )
    .fetch_all(connection)
    .await
}

/// Sums what was credited to an account of the platform less what was debited.
async fn sum_account(connection: &mut PgConnection, account: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(CASE WHEN credit_account = $1 THEN amount ELSE -amount END), 0)::bigint
         FROM wallet.journal WHERE $1 IN (credit_account, debit_account)",
    )
    .bind(account)
    .fetch_one(connection)
    .await
}

/// Returns whether the money held for payouts equals the sum of all withdrawals in progress.
async fn are_payouts_held(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let held = sum_account(connection, "platform/payouts_pending").await?;
    let requested: i64 = sqlx::query_scalar(
        "SELECT (COALESCE(sum(amount), 0) * 100)::bigint FROM wallet.user_withdrawals
         WHERE status IN ('pending', 'processing')",
    )
    .fetch_one(connection)
    .await?;
    Ok(held == requested)
}

/// Returns whether the coins that are set aside equal the sum of all open disputes.
async fn are_disputed_coins_held(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let held = sum_account(connection, "platform/disputed").await?;
    let frozen: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(frozen_coins), 0)::bigint FROM wallet.payment_disputes",
    )
    .fetch_one(connection)
    .await?;
    Ok(held == frozen)
}

/// Finds ledgers whose accounts do not sum to zero.
async fn find_unbalanced_ledgers(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT ledger FROM (
             SELECT ledger, credit_account AS account, amount FROM wallet.journal
             UNION ALL
             SELECT ledger, debit_account, -amount FROM wallet.journal
         ) AS movement
         GROUP BY ledger HAVING sum(amount) <> 0 ORDER BY ledger",
    )
    .fetch_all(connection)
    .await
}

/// Makes a session of its own read one state of the database, whole tables included.
pub(crate) async fn begin_snapshot(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *connection)
        .await?;
    allow_full_scans(connection).await
}

/// Finds all differences within the books, one sentence for each; none if the books are consistent. Reads one
/// snapshot of the database, on a session that the caller drops after an error.
pub async fn find_differences(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    begin_snapshot(connection).await?;
    let mut found = balance_differences(connection).await?;
    found.extend(cause_differences(connection).await?);
    found.extend(chain_differences(connection).await?);
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(found)
}

async fn balance_differences(snapshot: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut add_sentences = |sentences: Vec<String>| found.extend(sentences);
    add_sentences(describe_all(
        &find_mismatched_wallets(snapshot).await?,
        |user_id| format!("the wallet of user {user_id} is not what the journal adds up to"),
    ));
    add_sentences(describe_all(
        &find_mismatched_histories(snapshot).await?,
        |user_id| format!("the history of user {user_id} does not add up to the wallet"),
    ));
    add_sentences(describe_all(
        &history_sums::find_mismatched_sums(snapshot).await?,
        |user_id| format!("the sums of user {user_id} are not those of the lines of past months"),
    ));
    add_sentences(describe_all(
        &find_mismatched_lines(snapshot).await?,
        |line| format!("transaction {line} does not say what its transfer moved"),
    ));
    add_sentences(describe_all(
        &find_mismatched_withdrawals(snapshot).await?,
        |user_id| format!("the withdrawals of user {user_id} do not add up to the wallet"),
    ));
    add_sentences(describe_all(
        &find_mismatched_transfers(snapshot).await?,
        |id| format!("the journal of transfer {id} does not move what it says"),
    ));
    add_sentences(describe_all(
        &find_unbalanced_ledgers(snapshot).await?,
        |ledger| format!("the ledger of {ledger} does not sum to zero"),
    ));
    if !are_payouts_held(snapshot).await? {
        found.push(
            "what is held for payouts is not what the withdrawals in progress come to".to_owned(),
        );
    }
    if !are_disputed_coins_held(snapshot).await? {
        found.push("the coins that are set aside are not those of the open disputes".to_owned());
    }
    Ok(found)
}

/// Describes the differences between the books and the reports and decisions that caused them.
async fn cause_differences(snapshot: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let mut found = audits::find_misbooked_payments(snapshot).await?;
    let mut add_sentences = |sentences: Vec<String>| found.extend(sentences);
    add_sentences(describe_all(
        &audits::find_unreported_orders(snapshot).await?,
        |id| format!("order {id} was not credited by what the provider reported"),
    ));
    add_sentences(describe_all(
        &audits::find_undecidable_payouts(snapshot).await?,
        |id| format!("transfer {id} holds rupees for a payout that nobody can decide"),
    ));
    add_sentences(describe_all(
        &audits::find_unheld_withdrawals(snapshot).await?,
        |id| format!("withdrawal {id} is in progress and its sum is not held"),
    ));
    add_sentences(describe_all(
        &audits::find_causeless_forfeits(snapshot).await?,
        |id| format!("transfer {id} moves what somebody left behind who was not deleted"),
    ));
    add_sentences(describe_all(
        &audits::find_mismatched_closings(snapshot).await?,
        |id| format!("the closed wallet of user {id} is not what the journal adds up to"),
    ));
    Ok(found)
}

async fn chain_differences(snapshot: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let mut found = describe_all(&chains::find_broken_chains(snapshot).await?, |broken| {
        let chains::BrokenWalletChain {
            owner_id,
            transfer_id,
        } = broken;
        format!("the chain of user {owner_id} breaks at transfer {transfer_id}")
    });
    found.extend(describe_all(
        &chains::find_cut_chains(snapshot).await?,
        |user_id| format!("the chain of user {user_id} does not end where the wallet says"),
    ));
    found.extend(describe_all(
        &chains::find_unchained_transfers(snapshot).await?,
        |id| format!("transfer {id} is in no chain"),
    ));
    Ok(found)
}

fn describe_all<T>(found: &[T], sentence: impl Fn(&T) -> String) -> Vec<String> {
    found.iter().map(sentence).collect()
}
