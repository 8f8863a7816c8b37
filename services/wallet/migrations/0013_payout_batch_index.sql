-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS user_withdrawals_batch ON wallet.user_withdrawals (payout_batch_id, withdrawal_id)
    WHERE payout_batch_id IS NOT NULL;
