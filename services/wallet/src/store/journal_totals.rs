//! The sums of the journal, by account.

/// The beginning of a statement: `total` has one row for each account, with its coins and its paise.
macro_rules! journal_totals {
    () => {
        "WITH movement AS (
             SELECT credit_account AS account, ledger, amount FROM wallet.journal
             UNION ALL
             SELECT debit_account, ledger, -amount FROM wallet.journal
         ), total AS (
             SELECT account, COALESCE(sum(amount) FILTER (WHERE ledger = 'coins'), 0) AS coins,
                    COALESCE(sum(amount) FILTER (WHERE ledger = 'paise'), 0) AS paise
             FROM movement GROUP BY account
         )"
    };
}

pub(super) use journal_totals;
