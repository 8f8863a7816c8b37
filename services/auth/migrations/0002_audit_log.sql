-- What was done in whose name, for an operator who has to find out later. Never an OTP, a token or a
-- phone. Rows outlive their user: they hold ids only.
CREATE TABLE auth.audit_log (
    audit_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at timestamptz NOT NULL,
    user_id     bigint      NOT NULL,
    action      text        NOT NULL CHECK (action IN
                ('logged_in', 'logged_out', 'logged_out_everywhere', 'session_ended',
                 'refresh_token_reused')),
    -- The `sid` of the session's tokens, where one session is meant.
    session_id  text
);
CREATE INDEX audit_log_user ON auth.audit_log (user_id, audit_id);
REVOKE UPDATE, DELETE ON auth.audit_log FROM auth_app;
