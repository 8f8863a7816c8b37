-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS user_calls_parties ON calls.user_calls (user_id, listener_id);
