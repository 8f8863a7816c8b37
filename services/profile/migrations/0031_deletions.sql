-- Deletions that were requested and have not finished. A request that dies half-way leaves its row, and
-- the sweep goes on with it. The row goes with its user.
CREATE TABLE profile.pending_deletions (
    user_id         bigint PRIMARY KEY REFERENCES profile.users ON DELETE CASCADE,
    requested_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Until then whoever works on it is left alone, by the database's clock.
    next_attempt_at timestamptz NOT NULL
);
CREATE INDEX pending_deletions_due ON profile.pending_deletions (next_attempt_at);

-- Registrations whose user has been deleted: random ids that make no second user.
CREATE TABLE profile.spent_registrations (
    registration_id text PRIMARY KEY,
    deleted_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
