-- Whom badges are given to, as profile tells; those who were called before profile's events reach
-- back to are known from their calls.
CREATE TABLE calls.listeners (
    user_id bigint PRIMARY KEY
);
INSERT INTO calls.listeners SELECT DISTINCT listener_id FROM calls.user_calls;

-- Days of India whose badges are all given: a day that is missing is made up for.
CREATE TABLE calls.badge_days (
    date        date        PRIMARY KEY,
    assigned_at timestamptz NOT NULL
);
-- Statistics are counted over days.
CREATE INDEX listener_badges_date ON calls.listener_badges (date, badge);

-- Prices that calls were begun with. The same prices have the same version.
CREATE TABLE calls.prices (
    version  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    content  jsonb       NOT NULL UNIQUE,
    since    timestamptz NOT NULL
);

-- What the listener's share was fixed by at the call's start. No foreign key: every start would lock
-- the one row of the present prices.
ALTER TABLE calls.user_calls
    ADD COLUMN listener_badge text NOT NULL DEFAULT 'basic'
               CHECK (listener_badge IN ('basic', 'bronze', 'silver', 'gold')),
    ADD COLUMN prices_version bigint;
