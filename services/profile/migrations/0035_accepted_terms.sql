-- The version of the terms that a user has accepted last, and when.
ALTER TABLE profile.users
    ADD COLUMN terms_version     text,
    ADD COLUMN terms_accepted_at timestamptz,
    ADD CONSTRAINT users_terms_are_accepted_at_a_time
        CHECK ((terms_version IS NULL) = (terms_accepted_at IS NULL));
