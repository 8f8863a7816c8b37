-- Audio samples by which listeners prove themselves, and what became of them.

CREATE TABLE verification.listener_verifications (
    verification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         bigint      NOT NULL,
    -- Where the sample is: an https address, or else an object's key in our own bucket.
    audio_url       text        NOT NULL,
    status          text        NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'approved', 'rejected')),
    description     text,
    submitted_at    timestamptz NOT NULL,
    reviewed_at     timestamptz,
    reviewer_id     bigint,
    reviewer_notes  text,
    CHECK ((status = 'pending') = (reviewed_at IS NULL))
);
-- A second sample waits for the review of the first.
CREATE UNIQUE INDEX listener_verifications_one_pending
    ON verification.listener_verifications (user_id) WHERE status = 'pending';
CREATE INDEX listener_verifications_user
    ON verification.listener_verifications (user_id, submitted_at DESC, verification_id DESC);
