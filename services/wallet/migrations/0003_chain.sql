-- Each transfer is chained to the one before it in the same person's wallet: a row that is changed,
-- taken out or put in between breaks the chain from there on. The wallet's lock is held when a link is
-- made, so links of one person never race and links of two never wait for each other.
ALTER TABLE wallet.transfers
    -- Whose chain; empty only for transfers made before there were chains.
    ADD COLUMN owner_id       bigint,
    ADD COLUMN chain_position bigint CHECK (chain_position > 0),
    ADD COLUMN chain_hash     bytea CHECK (octet_length(chain_hash) = 32);
CREATE UNIQUE INDEX transfers_chain ON wallet.transfers (owner_id, chain_position);

ALTER TABLE wallet.user_wallets
    ADD COLUMN chain_length bigint NOT NULL DEFAULT 0 CHECK (chain_length >= 0),
    ADD COLUMN chain_hash   bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
                            CHECK (octet_length(chain_hash) = 32),
    -- Coins of a payment that was taken back after they were spent; the next payment pays them first.
    ADD COLUMN debt_coins   bigint NOT NULL DEFAULT 0 CHECK (debt_coins >= 0);

-- The chains of people who are gone, and that they are gone: a settlement that comes late goes on
-- from here and pays nobody.
CREATE TABLE wallet.closed_wallets (
    owner_id     bigint PRIMARY KEY,
    chain_length bigint      NOT NULL CHECK (chain_length >= 0),
    chain_hash   bytea       NOT NULL CHECK (octet_length(chain_hash) = 32),
    closed_at    timestamptz NOT NULL
);
REVOKE DELETE ON wallet.closed_wallets FROM wallet_app;

-- What each call brought its listener.
CREATE TABLE wallet.call_earnings (
    call_id     bigint PRIMARY KEY,
    listener_id bigint        NOT NULL,
    caller_id   bigint        NOT NULL,
    -- Empty for calls settled by a release that was not told.
    call_type   text CHECK (call_type IN ('audio', 'video')),
    minutes     integer       NOT NULL CHECK (minutes > 0),
    -- What the caller paid.
    coins       bigint        NOT NULL CHECK (coins >= 0),
    money       numeric(12,2) NOT NULL CHECK (money >= 0),
    created_at  timestamptz   NOT NULL
);
CREATE INDEX call_earnings_listener
    ON wallet.call_earnings (listener_id, created_at DESC, call_id DESC);

-- What was settled before this table was there is told by the settlement's content.
INSERT INTO wallet.call_earnings
    (call_id, listener_id, caller_id, minutes, coins, money, created_at)
SELECT call_id, part[3]::bigint, part[1]::bigint, part[2]::integer, coins, paise::numeric / 100,
       created_at
FROM wallet.transfers,
     regexp_match(content, '^user (\d+) paid (\d+) minutes, user (\d+) earns') AS part
WHERE kind = 'settlement' AND part IS NOT NULL AND call_id IS NOT NULL
  AND EXISTS (SELECT FROM wallet.user_wallets WHERE user_id = part[3]::bigint);

-- A page of one kind of line. Minutes are most of the lines and have the index of all; the others are
-- few between them, and a charge does not pay for this index.
CREATE INDEX user_transactions_but_spend
    ON wallet.user_transactions (wallet_id, tx_type, created_at DESC, transaction_id DESC)
    WHERE tx_type <> 'spend';
