-- Photos of users, and what admins decided about them.

CREATE TABLE verification.profile_photos (
    photo_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id        bigint      NOT NULL,
    -- Names the object and the public address. It is random, so that an address cannot be guessed.
    photo_key      uuid        NOT NULL UNIQUE,
    status         text        NOT NULL DEFAULT 'pending'
                   CHECK (status IN ('pending', 'approved', 'rejected')),
    submitted_at   timestamptz NOT NULL,
    reviewed_at    timestamptz,
    reviewer_id    bigint,
    reviewer_notes text,
    CHECK ((status = 'pending') = (reviewed_at IS NULL))
);
-- A new photo replaces the one that has its status.
CREATE UNIQUE INDEX profile_photos_one_of_each_status
    ON verification.profile_photos (user_id, status);
-- The admins' queue.
CREATE INDEX profile_photos_pending
    ON verification.profile_photos (submitted_at, photo_id) WHERE status = 'pending';

-- Every decision on a photo; rows are only added.
CREATE TABLE verification.photo_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at  timestamptz NOT NULL,
    -- The admin.
    decided_by  bigint      NOT NULL,
    -- The owner of the photo.
    user_id     bigint      NOT NULL,
    photo_id    bigint      NOT NULL,
    decision    text        NOT NULL CHECK (decision IN ('approved', 'rejected')),
    notes       text
);
CREATE INDEX photo_decisions_user ON verification.photo_decisions (user_id, decision_id DESC);
REVOKE UPDATE, DELETE ON verification.photo_decisions FROM verification_app;
