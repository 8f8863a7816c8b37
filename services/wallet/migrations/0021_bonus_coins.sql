-- Coins that were given, as a part of the balance with an account of its own (`user/…/bonus`). Gifts from before stay as they
-- are, among the coins that were bought.
SELECT lock_exclusively('wallet.user_wallets, wallet.transfers, wallet.call_earnings');
ALTER TABLE wallet.user_wallets
    -- Replicas of the release before take every minute from the coins that were bought. So until they have ended this may
    -- exceed the balance, and no constraint compares the two.
    ADD COLUMN bonus_coins bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT user_wallets_bonus_coins_check CHECK (bonus_coins >= 0) NOT VALID;
ALTER TABLE wallet.transfers
    -- The part of the coins that moved to or from an account of bonus coins.
    ADD COLUMN bonus_coins bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT transfers_bonus_coins_check CHECK (bonus_coins BETWEEN 0 AND coins) NOT VALID;
ALTER TABLE wallet.call_earnings
    -- The part of the coins that was given to the caller, and the part of the money that these coins brought.
    ADD COLUMN bonus_coins bigint NOT NULL DEFAULT 0,
    ADD COLUMN bonus_money numeric(12,2) NOT NULL DEFAULT 0,
    ADD CONSTRAINT call_earnings_bonus_check CHECK
        (bonus_coins BETWEEN 0 AND coins AND bonus_money BETWEEN 0 AND money) NOT VALID;
