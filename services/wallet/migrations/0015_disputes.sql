-- Disputes about payments. What a buyer still has of the coins is set aside while the bank decides. The table that a new
-- foreign key refers to is locked as well, since bookings write to it before they write transfers.
SELECT lock_exclusively('wallet.order_payments, wallet.transfers');
ALTER TABLE wallet.transfers
    DROP CONSTRAINT transfers_kind_check,
    -- The present rows satisfy it: kinds are only ever added.
    ADD CONSTRAINT transfers_kind_check CHECK (kind IN
        ('charge', 'void', 'settlement', 'payment', 'closing', 'refund', 'earning', 'bonus',
         'withdrawal', 'withdrawal_return', 'payout', 'payment_reversal', 'dispute_hold',
         'dispute_release', 'earning_reversal', 'debt_transfer')) NOT VALID;

CREATE TABLE wallet.payment_disputes (
    payment_id   text        NOT NULL REFERENCES wallet.order_payments,
    -- By the provider's id, so that none counts twice.
    dispute_id   text        NOT NULL,
    owner_id     bigint      NOT NULL,
    -- In the smallest unit of the payment's currency.
    amount       bigint      NOT NULL CHECK (amount > 0),
    status       text        NOT NULL CHECK (status IN ('open', 'won', 'lost', 'closed')),
    -- Coins of the buyer that are set aside; none once it is decided or the account is deleted.
    frozen_coins bigint      NOT NULL DEFAULT 0 CHECK (frozen_coins >= 0),
    opened_at    timestamptz NOT NULL,
    decided_at   timestamptz,
    PRIMARY KEY (payment_id, dispute_id),
    CHECK (status = 'open' OR frozen_coins = 0)
);
CREATE INDEX payment_disputes_owner ON wallet.payment_disputes (owner_id);
REVOKE DELETE ON wallet.payment_disputes FROM wallet_app;

-- Earnings that were paid for with disputed money, as far as that can be told: they cannot be withdrawn. Rows go when
-- the dispute is won, and when what was lost has been taken.
CREATE TABLE wallet.disputed_earnings (
    payment_id  text        NOT NULL,
    dispute_id  text        NOT NULL,
    call_id     bigint      NOT NULL,
    listener_id bigint      NOT NULL,
    paise       bigint      NOT NULL CHECK (paise > 0),
    earned_at   timestamptz NOT NULL,
    is_lost     boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (payment_id, dispute_id, call_id),
    FOREIGN KEY (payment_id, dispute_id) REFERENCES wallet.payment_disputes
);
CREATE INDEX disputed_earnings_listener ON wallet.disputed_earnings (listener_id);
CREATE INDEX disputed_earnings_call ON wallet.disputed_earnings (call_id);
CREATE INDEX disputed_earnings_lost ON wallet.disputed_earnings (call_id) WHERE is_lost;
