-- The lists that operators pay by. A withdrawal is in one of them, so that no second list pays it again.
CREATE TABLE wallet.payout_batches (
    batch_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The operator, by the name that they gave.
    exported_by text        NOT NULL CHECK (length(exported_by) BETWEEN 1 AND 100),
    exported_at timestamptz NOT NULL
);
REVOKE UPDATE, DELETE ON wallet.payout_batches FROM wallet_app;

ALTER TABLE wallet.user_withdrawals
    ADD COLUMN payout_batch_id bigint REFERENCES wallet.payout_batches;
CREATE INDEX user_withdrawals_batch ON wallet.user_withdrawals (payout_batch_id, withdrawal_id)
    WHERE payout_batch_id IS NOT NULL;
