-- Every column of money says what it may hold, so that a slip of the service is an error and no sum.
ALTER TABLE wallet.transfers
    ADD CONSTRAINT transfers_amounts_check CHECK (coins >= 0 AND paise >= 0 AND balance_coins >= 0);

ALTER TABLE wallet.user_transactions
    ADD CONSTRAINT user_transactions_changes_check CHECK (
        CASE tx_type
            WHEN 'purchase' THEN coins_change > 0 AND money_change >= 0
            WHEN 'spend' THEN coins_change < 0 AND money_change = 0
            WHEN 'earn' THEN coins_change = 0 AND money_change >= 0
            WHEN 'withdraw' THEN coins_change = 0 AND money_change <> 0
            -- A minute comes back, or a payment is taken back.
            WHEN 'refund' THEN money_change <= 0
            -- Gifts.
            ELSE coins_change > 0 AND money_change = 0
        END);
