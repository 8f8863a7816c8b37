-- Tables like those that a call writes, apart from them, with ten thousand people in pairs.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.user_calls (LIKE calls.user_calls INCLUDING ALL);
CREATE TABLE bench.live_parties (LIKE calls.live_parties INCLUDING ALL);
CREATE TABLE bench.user_wallets (LIKE wallet.user_wallets INCLUDING ALL);
CREATE TABLE bench.transfers (LIKE wallet.transfers INCLUDING ALL);
-- Partitions have the indexes of their table, and the table has the ids.
CREATE TABLE bench.journal (LIKE wallet.journal_first INCLUDING ALL);
CREATE TABLE bench.user_transactions (LIKE wallet.user_transactions_first INCLUDING ALL);
ALTER TABLE bench.journal ALTER entry_id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE bench.user_transactions ALTER transaction_id ADD GENERATED ALWAYS AS IDENTITY;
CREATE TABLE bench.user_status (LIKE presence.user_status INCLUDING ALL);
CREATE TABLE bench.outbox (LIKE wallet.outbox INCLUDING ALL);
ALTER TABLE bench.live_parties ADD FOREIGN KEY (call_id) REFERENCES bench.user_calls ON DELETE CASCADE;
ALTER TABLE bench.journal ADD FOREIGN KEY (transfer_id) REFERENCES bench.transfers;
ALTER TABLE bench.user_transactions
    ADD FOREIGN KEY (wallet_id) REFERENCES bench.user_wallets,
    ADD FOREIGN KEY (transfer_id) REFERENCES bench.transfers;
INSERT INTO bench.user_wallets (user_id, balance_coins, created_at, updated_at)
SELECT user_id, 1000000000, now(), now() FROM generate_series(1, 10000) AS user_id;
INSERT INTO bench.user_status (user_id, is_online, last_seen, created_at, updated_at)
SELECT user_id, true, now(), now(), now() FROM generate_series(1, 10000) AS user_id;
