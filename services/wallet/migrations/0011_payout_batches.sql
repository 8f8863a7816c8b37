-- The lists that operators pay by. A withdrawal is in one of them, so that no second list pays it again.
SELECT lock_exclusively('wallet.user_withdrawals');
CREATE TABLE wallet.payout_batches (
    batch_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The operator, by the name that they gave.
    exported_by text        NOT NULL CHECK (length(exported_by) BETWEEN 1 AND 100),
    exported_at timestamptz NOT NULL
);
REVOKE UPDATE, DELETE ON wallet.payout_batches FROM wallet_app;
ALTER TABLE wallet.user_withdrawals
    ADD COLUMN payout_batch_id bigint REFERENCES wallet.payout_batches;

-- Withdrawals that are being paid were exported before lists had numbers, or are about to be: the first batch holds them,
-- so that no new list has them once more.
INSERT INTO wallet.payout_batches (exported_by, exported_at)
SELECT 'lists without a number', now()
WHERE EXISTS (SELECT FROM wallet.user_withdrawals WHERE status = 'processing');
UPDATE wallet.user_withdrawals SET payout_batch_id = (SELECT max(batch_id) FROM wallet.payout_batches)
WHERE status = 'processing';
