-- Whether the caller was told that coins for less than two more minutes are left; a minute that is
-- charged after a top-up takes it back.
ALTER TABLE calls.user_calls ADD COLUMN low_balance_told boolean NOT NULL DEFAULT false;
