-- Users who are deleted or about to be, and are on no call again: ids are never reused. Without an end
-- once the deletion is known to have happened.
CREATE TABLE calls.deleted_users (
    user_id      bigint      PRIMARY KEY,
    barred_until timestamptz NOT NULL
);

-- Two people of whom one has just blocked the other, by the smaller and the greater of their ids. Whether
-- they may call each other is asked of profile at each start; this is for the starts under way.
CREATE TABLE calls.barred_pairs (
    lower_id     bigint      NOT NULL,
    upper_id     bigint      NOT NULL,
    barred_until timestamptz NOT NULL,
    PRIMARY KEY (lower_id, upper_id)
);
CREATE INDEX barred_pairs_until ON calls.barred_pairs (barred_until);
