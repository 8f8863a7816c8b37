-- Tables like the wallet's, with everything that makes writing them cost what it costs there, and
-- apart from them, so that the wallet's books stay right.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.user_wallets (LIKE wallet.user_wallets INCLUDING ALL);
CREATE TABLE bench.transfers (LIKE wallet.transfers INCLUDING ALL);
-- Partitions have the indexes of their table, and the table has the ids.
CREATE TABLE bench.journal (LIKE wallet.journal_first INCLUDING ALL);
CREATE TABLE bench.user_transactions (LIKE wallet.user_transactions_first INCLUDING ALL);
ALTER TABLE bench.journal ALTER entry_id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE bench.user_transactions ALTER transaction_id ADD GENERATED ALWAYS AS IDENTITY;
CREATE TABLE bench.payment_orders (LIKE wallet.payment_orders INCLUDING ALL);
CREATE TABLE bench.idempotency_keys (LIKE wallet.idempotency_keys INCLUDING ALL);
CREATE TABLE bench.outbox (LIKE wallet.outbox INCLUDING ALL);
ALTER TABLE bench.journal ADD FOREIGN KEY (transfer_id) REFERENCES bench.transfers;
ALTER TABLE bench.user_transactions
    ADD FOREIGN KEY (wallet_id) REFERENCES bench.user_wallets,
    ADD FOREIGN KEY (transfer_id) REFERENCES bench.transfers;
INSERT INTO bench.user_wallets (user_id, balance_coins, created_at, updated_at)
SELECT user_id, 1000000000, now(), now() FROM generate_series(1, 1000) AS user_id;
