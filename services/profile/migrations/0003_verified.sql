-- Which listeners are verified, as verification tells.

ALTER TABLE profile.feed_listeners
    ADD COLUMN is_verified          boolean NOT NULL DEFAULT false,
    -- Version of the standing that is held; zero before the first.
    ADD COLUMN verification_version bigint  NOT NULL DEFAULT 0;
