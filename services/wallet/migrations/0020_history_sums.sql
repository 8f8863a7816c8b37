-- Sums of the lines of months that are over, so that a page of a history with its totals reads the last lines only,
-- however long somebody has been here. A job adds to them each month; a line is never changed afterwards. The new foreign
-- keys add triggers to the table of wallets.
SELECT lock_exclusively('wallet.user_wallets');
CREATE TABLE wallet.history_marks (
    wallet_id    bigint PRIMARY KEY REFERENCES wallet.user_wallets ON DELETE CASCADE,
    -- Lines before this moment are in the sums.
    summed_until timestamptz NOT NULL
);
CREATE INDEX history_marks_due ON wallet.history_marks (summed_until, wallet_id);

CREATE TABLE wallet.history_sums (
    wallet_id      bigint        NOT NULL REFERENCES wallet.user_wallets ON DELETE CASCADE,
    tx_type        text          NOT NULL,
    lines          bigint        NOT NULL CHECK (lines > 0),
    -- Of the lines that belong to calls.
    coins_of_calls bigint        NOT NULL,
    money          numeric(14,2) NOT NULL,
    PRIMARY KEY (wallet_id, tx_type),
    -- Sums of what the lines of each type may hold.
    CONSTRAINT history_sums_check CHECK (
        CASE tx_type
            WHEN 'spend' THEN coins_of_calls <= 0 AND money = 0
            WHEN 'refund' THEN coins_of_calls >= 0 AND money <= 0
            WHEN 'withdraw' THEN coins_of_calls = 0
            ELSE coins_of_calls = 0 AND money >= 0
        END)
);
