-- Coins that each admin has given on each day in India. The row is the limit's counter and its lock.
CREATE TABLE wallet.bonus_days (
    admin_id bigint NOT NULL,
    day      date   NOT NULL,
    coins    bigint NOT NULL CHECK (coins > 0),
    PRIMARY KEY (admin_id, day)
);
