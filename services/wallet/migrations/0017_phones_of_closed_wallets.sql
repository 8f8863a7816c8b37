-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS closed_wallets_phone ON wallet.closed_wallets (phone_hash)
    WHERE phone_hash IS NOT NULL;
