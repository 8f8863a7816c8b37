-- Exports of users' own data: the latest of each user.
CREATE TABLE verification.data_exports (
    export_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         bigint      NOT NULL UNIQUE,
    -- The random part of the key of the archive.
    archive_key     uuid        NOT NULL UNIQUE,
    status          text        NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'ready', 'failed', 'expired')),
    requested_at    timestamptz NOT NULL,
    -- When a pending export is built, or built again: a process that builds it moves this time ahead.
    next_attempt_at timestamptz NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    completed_at    timestamptz,
    expires_at      timestamptz,
    length_bytes    bigint,
    CHECK (status <> 'ready'
           OR num_nulls(completed_at, expires_at, length_bytes) = 0)
);
CREATE INDEX data_exports_due ON verification.data_exports (next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX data_exports_expiring ON verification.data_exports (expires_at)
    WHERE status = 'ready';
