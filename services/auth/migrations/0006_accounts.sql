-- Accounts that have ended, by the ids of their users. Ids are never given again, so a row stays for
-- good: no token is issued or refreshed for it any more, whatever Redis has lost or restored.
CREATE TABLE auth.deleted_users (
    user_id    bigint PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
REVOKE UPDATE, DELETE ON auth.deleted_users FROM auth_app;

-- One-time passwords that have logged somebody in, by a random id that Redis holds beside the code. The
-- row is written in the transaction of the login, so a login that fails leaves its code usable.
CREATE TABLE auth.used_codes (
    code_id uuid PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX used_codes_used ON auth.used_codes (used_at);

-- Registration tokens that have made an account, by their `jti`, with the session that each opened. The
-- same registration again gets that session's first pair of tokens while it is unused, and nothing else.
CREATE TABLE auth.registrations (
    registration_id uuid PRIMARY KEY,
    content_hash    bytea       NOT NULL,
    user_id         bigint      NOT NULL,
    session_id      uuid        NOT NULL,
    refresh_jti     uuid        NOT NULL,
    access_jti      uuid        NOT NULL,
    issued_at       timestamptz NOT NULL,
    registered_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX registrations_user ON auth.registrations (user_id);
CREATE INDEX registrations_registered ON auth.registrations (registered_at);
