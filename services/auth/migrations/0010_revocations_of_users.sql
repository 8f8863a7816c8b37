-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS revocations_user ON auth.revocations (user_id);
