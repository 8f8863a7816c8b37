ALTER TABLE wallet.payment_orders
    -- What was paid for the coins: less than the order costs after a discount of the provider. Empty
    -- until it is credited, and where a release credited it that did not record this.
    ADD COLUMN paid_paise  bigint CHECK (paid_paise BETWEEN 0 AND amount_paise),
    -- Questions about it in a row that the provider answered with an error.
    ADD COLUMN failed_asks integer NOT NULL DEFAULT 0 CHECK (failed_asks >= 0);

-- Every captured payment that the provider has reported, and what became of it here. Rows stay when
-- their buyer goes, since money may still go back; they name no person.
CREATE TABLE wallet.order_payments (
    payment_id     text        PRIMARY KEY,
    order_id       text        NOT NULL,
    -- In the smallest unit of the currency, as reported.
    amount         bigint      NOT NULL CHECK (amount >= 0),
    currency       text        NOT NULL CHECK (currency ~ '^[A-Za-z0-9_-]{3}$'),
    is_discounted  boolean     NOT NULL DEFAULT false,
    -- The most that the provider has reported as refunded, and what buyers' banks took back.
    refunded       bigint      NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    charged_back   bigint      NOT NULL DEFAULT 0 CHECK (charged_back >= 0),
    -- Empty until it was decided, in the same transaction.
    outcome        text        CHECK (outcome IN
                   ('credited', 'underpaid', 'foreign_currency', 'surplus', 'returned')),
    -- What it paid for how many coins, and what was taken back of both; zero unless it is credited.
    price_paise    bigint      NOT NULL DEFAULT 0 CHECK (price_paise >= 0),
    coins          bigint      NOT NULL DEFAULT 0 CHECK (coins >= 0),
    reversed_paise bigint      NOT NULL DEFAULT 0,
    reversed_coins bigint      NOT NULL DEFAULT 0,
    reported_at    timestamptz NOT NULL,
    CHECK (reversed_paise BETWEEN 0 AND price_paise AND reversed_coins BETWEEN 0 AND coins)
);
CREATE INDEX order_payments_order ON wallet.order_payments (order_id, reported_at, payment_id);
REVOKE DELETE ON wallet.order_payments FROM wallet_app;

-- Refunds and chargebacks by the provider's id of each, so that none counts twice.
CREATE TABLE wallet.payment_reversals (
    payment_id  text        NOT NULL REFERENCES wallet.order_payments,
    reversal_id text        NOT NULL,
    reason      text        NOT NULL CHECK (reason IN ('refund', 'chargeback')),
    amount      bigint      NOT NULL CHECK (amount > 0),
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (payment_id, reversal_id)
);
REVOKE UPDATE, DELETE ON wallet.payment_reversals FROM wallet_app;

-- Payments that were credited before are taken to have been what their orders cost.
INSERT INTO wallet.order_payments
    (payment_id, order_id, amount, currency, refunded, outcome, price_paise, coins, reversed_paise,
     reversed_coins, reported_at)
SELECT payment_id, order_id, amount_paise, 'INR', reversed_paise, 'credited', amount_paise, coins,
       reversed_paise, reversed_coins, COALESCE(paid_at, created_at)
FROM wallet.payment_orders WHERE transaction_id IS NOT NULL AND payment_id IS NOT NULL;

-- Refunds of these may have gone unreported, and an earlier release that still runs records none.
UPDATE wallet.payment_orders SET ask_at = now() + random() * interval '1 day', times_asked = 0
WHERE provider = 'razorpay' AND status = 'paid' AND paid_at > now() - interval '180 days';

-- Coins that somebody owed when their account was deleted, or whose payment was charged back since.
ALTER TABLE wallet.closed_wallets
    ADD COLUMN debt_coins bigint NOT NULL DEFAULT 0 CHECK (debt_coins >= 0);
