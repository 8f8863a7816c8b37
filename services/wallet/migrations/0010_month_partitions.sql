-- The tables that foreign keys refer to are locked as well, since the new foreign keys add triggers to them.
SELECT lock_exclusively('wallet.user_transactions, wallet.journal, wallet.user_wallets, wallet.transfers');
SELECT partition_by_month('journal', 'created_at', 'entry_id'),
       partition_by_month('user_transactions', 'created_at', 'transaction_id');
REVOKE UPDATE, DELETE ON wallet.journal FROM wallet_app;
SELECT add_months(3);
