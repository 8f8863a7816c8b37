-- The journal and the histories are partitioned by month (docs/decisions/0027). What they have becomes their first
-- partition.
SELECT lock_exclusively('wallet.user_transactions, wallet.journal');
SELECT bound_first_partition('journal', 'created_at'), bound_first_partition('user_transactions', 'created_at');
