-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS closed_wallets_forget ON wallet.closed_wallets (closed_at)
    WHERE phone_hash IS NOT NULL;
