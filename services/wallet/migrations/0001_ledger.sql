-- Coins are whole, rupees have two decimals in the documented columns and are paise everywhere
-- else. Balances here follow the journal in the same transaction, never the other way round.

CREATE TABLE wallet.user_wallets (
    wallet_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id             bigint        NOT NULL UNIQUE,
    balance_coins       bigint        NOT NULL DEFAULT 0 CHECK (balance_coins >= 0),
    withdrawable_money  numeric(12,2) NOT NULL DEFAULT 0 CHECK (withdrawable_money >= 0),
    total_earned        numeric(12,2) NOT NULL DEFAULT 0 CHECK (total_earned >= 0),
    total_withdrawn     numeric(12,2) NOT NULL DEFAULT 0 CHECK (total_withdrawn >= 0),
    pending_withdrawals numeric(12,2) NOT NULL DEFAULT 0 CHECK (pending_withdrawals >= 0),
    bank_account_number text,
    ifsc_code           text,
    account_holder_name text,
    -- Grows with every change; the version of this wallet's events.
    version             bigint        NOT NULL DEFAULT 0,
    created_at          timestamptz   NOT NULL,
    updated_at          timestamptz   NOT NULL
);

-- One row for each operation that moved money, by the id that its caller made.
CREATE TABLE wallet.transfers (
    transfer_id   text PRIMARY KEY,
    kind          text        NOT NULL
                  CHECK (kind IN ('charge', 'void', 'settlement', 'payment', 'closing')),
    -- What the id stands for, in words: the same id with other content is refused.
    content       text        NOT NULL,
    call_id       bigint,
    -- What the first request was answered, for every later one.
    coins         bigint      NOT NULL,
    paise         bigint      NOT NULL,
    balance_coins bigint      NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE INDEX transfers_call ON wallet.transfers (call_id) WHERE call_id IS NOT NULL;

-- The journal: append-only. Each row takes from one account and gives to another, so every ledger
-- sums to zero whatever happens.
CREATE TABLE wallet.journal (
    entry_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer_id    text        NOT NULL REFERENCES wallet.transfers,
    ledger         text        NOT NULL CHECK (ledger IN ('coins', 'paise')),
    debit_account  text        NOT NULL,
    credit_account text        NOT NULL,
    amount         bigint      NOT NULL CHECK (amount > 0),
    created_at     timestamptz NOT NULL,
    CHECK (debit_account <> credit_account)
);
CREATE INDEX journal_transfer ON wallet.journal (transfer_id);
CREATE INDEX journal_debit ON wallet.journal (debit_account, ledger);
CREATE INDEX journal_credit ON wallet.journal (credit_account, ledger);
REVOKE UPDATE, DELETE ON wallet.journal, wallet.transfers FROM wallet_app;

-- What a person sees of their wallet's history.
CREATE TABLE wallet.user_transactions (
    transaction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet_id      bigint        NOT NULL REFERENCES wallet.user_wallets ON DELETE CASCADE,
    tx_type        text          NOT NULL CHECK (tx_type IN
                   ('purchase', 'spend', 'earn', 'bonus', 'referral_bonus', 'withdraw', 'refund')),
    coins_change   bigint        NOT NULL,
    money_change   numeric(12,2) NOT NULL,
    description    text          NOT NULL,
    call_id        bigint,
    transfer_id    text          NOT NULL REFERENCES wallet.transfers,
    created_at     timestamptz   NOT NULL,
    updated_at     timestamptz   NOT NULL,
    UNIQUE (transfer_id, wallet_id)
);
CREATE INDEX user_transactions_wallet
    ON wallet.user_transactions (wallet_id, created_at DESC, transaction_id DESC);

CREATE TABLE wallet.user_withdrawals (
    withdrawal_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id             bigint        NOT NULL,
    amount              numeric(12,2) NOT NULL CHECK (amount > 0),
    bank_account_number text          NOT NULL,
    ifsc_code           text          NOT NULL,
    account_holder_name text          NOT NULL,
    status              text          NOT NULL
                        CHECK (status IN ('pending', 'processing', 'paid', 'rejected')),
    created_at          timestamptz   NOT NULL,
    processed_at        timestamptz
);
CREATE INDEX user_withdrawals_user ON wallet.user_withdrawals (user_id, created_at DESC);

-- What was to be paid for and what was paid. A payment credits once: its transfer's id is made of
-- the payment's.
CREATE TABLE wallet.payment_orders (
    order_id       text PRIMARY KEY,
    user_id        bigint      NOT NULL,
    provider       text        NOT NULL CHECK (provider IN ('sandbox')),
    amount_paise   bigint      NOT NULL CHECK (amount_paise > 0),
    coins          bigint      NOT NULL CHECK (coins > 0),
    payment_method text        NOT NULL CHECK (payment_method IN ('upi', 'card', 'wallet')),
    status         text        NOT NULL CHECK (status IN ('created', 'paid')),
    payment_id     text UNIQUE,
    created_at     timestamptz NOT NULL,
    paid_at        timestamptz
);
CREATE INDEX payment_orders_user ON wallet.payment_orders (user_id, created_at DESC);
