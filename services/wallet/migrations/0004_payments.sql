-- Orders are opened before they are paid, by a provider that may take its time, and may be paid back.
ALTER TABLE wallet.payment_orders
    -- What people know a purchase by.
    ADD COLUMN recharge_id    bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    -- The line in the buyer's history; empty until it is credited.
    ADD COLUMN transaction_id bigint,
    -- What came back of it, and what that took from the buyer.
    ADD COLUMN reversed_paise bigint NOT NULL DEFAULT 0,
    ADD COLUMN reversed_coins bigint NOT NULL DEFAULT 0,
    -- When the provider is asked about it; empty once there is nothing to ask.
    ADD COLUMN ask_at         timestamptz,
    ADD COLUMN times_asked    integer NOT NULL DEFAULT 0 CHECK (times_asked >= 0),
    ALTER COLUMN payment_method DROP NOT NULL,
    DROP CONSTRAINT payment_orders_payment_method_check,
    DROP CONSTRAINT payment_orders_status_check,
    DROP CONSTRAINT payment_orders_provider_check,
    DROP CONSTRAINT payment_orders_amount_paise_check,
    ADD CONSTRAINT payment_orders_provider_check CHECK (provider IN ('sandbox', 'razorpay')),
    ADD CONSTRAINT payment_orders_status_check
        CHECK (status IN ('created', 'expired', 'paid', 'reversed')),
    ADD CONSTRAINT payment_orders_amount_paise_check CHECK (amount_paise >= 0),
    ADD CONSTRAINT payment_orders_payment_method_check
        CHECK (payment_method IN ('upi', 'card', 'wallet', 'netbanking', 'emi', 'other')),
    ADD CONSTRAINT payment_orders_reversed_check
        CHECK (reversed_paise BETWEEN 0 AND amount_paise AND reversed_coins BETWEEN 0 AND coins);

UPDATE wallet.payment_orders AS o SET transaction_id = t.transaction_id
FROM wallet.user_transactions AS t WHERE t.transfer_id = 'payment/' || o.payment_id;

CREATE INDEX payment_orders_purchases ON wallet.payment_orders (user_id, paid_at DESC, recharge_id DESC)
    WHERE transaction_id IS NOT NULL;
CREATE INDEX payment_orders_ask ON wallet.payment_orders (ask_at) WHERE ask_at IS NOT NULL;

-- What a provider told us, by its own id of the telling: the second time there is nothing to do.
CREATE TABLE wallet.payment_events (
    provider    text        NOT NULL CHECK (provider IN ('razorpay')),
    event_id    text        NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    event_type  text        NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, event_id)
);
CREATE INDEX payment_events_received ON wallet.payment_events (received_at);
