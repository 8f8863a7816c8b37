-- Bank details are sealed by the service; the columns hold what it made of them and which key it took.
ALTER TABLE wallet.user_wallets
    ADD COLUMN bank_name       text,
    ADD COLUMN bank_key_id     text,
    -- When other details took the place of earlier ones; empty for the first.
    ADD COLUMN bank_changed_at timestamptz;
CREATE INDEX user_wallets_bank_key ON wallet.user_wallets (bank_key_id, user_id)
    WHERE bank_key_id IS NOT NULL;

ALTER TABLE wallet.user_withdrawals
    ADD COLUMN bank_name      text,
    ADD COLUMN bank_key_id    text NOT NULL DEFAULT '',
    -- The line in the listener's history that holds the sum.
    ADD COLUMN transaction_id bigint,
    -- Nothing is paid out before.
    ADD COLUMN payable_at     timestamptz NOT NULL DEFAULT now();
CREATE INDEX user_withdrawals_bank_key ON wallet.user_withdrawals (bank_key_id, withdrawal_id);
CREATE INDEX user_withdrawals_status ON wallet.user_withdrawals (status, withdrawal_id);

-- Which admin said what of a withdrawal. Stays when its person goes, and nobody rewrites it.
CREATE TABLE wallet.withdrawal_decisions (
    decision_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    withdrawal_id bigint      NOT NULL,
    admin_id      bigint      NOT NULL,
    -- What it is to become.
    status        text        NOT NULL CHECK (status IN ('processing', 'paid', 'rejected')),
    notes         text CHECK (length(notes) <= 500),
    decided_at    timestamptz NOT NULL,
    UNIQUE (withdrawal_id, admin_id, status)
);
REVOKE UPDATE, DELETE ON wallet.withdrawal_decisions FROM wallet_app;
