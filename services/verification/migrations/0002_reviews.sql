-- Decisions on samples: what they make of a listener, and who made them.

-- What a listener's samples and their reviews have made of them. Its row is locked by whatever changes
-- a listener's samples, so changes of one listener take turns.
CREATE TABLE verification.standings (
    user_id     bigint  PRIMARY KEY,
    is_verified boolean NOT NULL DEFAULT false,
    -- Who is gone sends nothing more, however late it arrives.
    is_deleted  boolean NOT NULL DEFAULT false,
    -- Grows with every decision; the version of this listener's events.
    version     bigint  NOT NULL DEFAULT 0
);
INSERT INTO verification.standings (user_id, is_verified)
SELECT user_id, bool_or(status = 'approved')
FROM verification.listener_verifications GROUP BY user_id;

-- Every decision, for good: ids and no person's data beside the reviewer's words.
CREATE TABLE verification.decisions (
    decision_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at      timestamptz NOT NULL,
    -- The admin.
    decided_by      bigint      NOT NULL,
    -- The listener.
    user_id         bigint      NOT NULL,
    -- Null for a revocation, which is of the listener.
    verification_id bigint,
    decision        text        NOT NULL CHECK (decision IN ('approved', 'rejected', 'revoked')),
    notes           text,
    CHECK ((decision = 'revoked') = (verification_id IS NULL))
);
CREATE INDEX decisions_user ON verification.decisions (user_id, decision_id DESC);
REVOKE UPDATE, DELETE ON verification.decisions FROM verification_app;

-- The admins' queue.
CREATE INDEX listener_verifications_pending
    ON verification.listener_verifications (submitted_at, verification_id) WHERE status = 'pending';
-- The reconciler asks which objects have a row.
CREATE INDEX listener_verifications_audio ON verification.listener_verifications (audio_url);
