-- Keys that sign tokens. One is published before it signs, and stays so until the last token that it
-- signed has expired. Its private half is sealed under a key that only configuration has, and is gone
-- once it is retired; the row stays, to tell when it was used.
CREATE TABLE auth.signing_keys (
    -- The `kid` of its tokens: its thumbprint (RFC 7638).
    key_id       text PRIMARY KEY,
    sealed_key   bytea,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    signs_from   timestamptz,
    signs_until  timestamptz,
    retired_at   timestamptz,
    CHECK ((sealed_key IS NULL) = (retired_at IS NOT NULL)),
    CHECK (signs_until IS NULL OR signs_from IS NOT NULL)
);
CREATE UNIQUE INDEX signing_keys_one_signs ON auth.signing_keys ((true))
    WHERE signs_from IS NOT NULL AND signs_until IS NULL;
REVOKE DELETE ON auth.signing_keys FROM auth_app;
