-- Access tokens that hold no more, until they would have expired. The keys `access:*` in Redis say the
-- same, but Redis may be flushed or restart empty; gateways are told from here.
CREATE TABLE auth.revocations (
    revocation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id       bigint      NOT NULL,
    token_ids     text[]      NOT NULL DEFAULT '{}',
    session_ids   text[]      NOT NULL DEFAULT '{}',
    -- All tokens of the user that were issued until then.
    issued_until  timestamptz,
    expires_at    timestamptz NOT NULL,
    -- By the database's clock, which all replicas share.
    revoked_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX revocations_revoked ON auth.revocations (revoked_at);
CREATE INDEX revocations_expires ON auth.revocations (expires_at);
