-- Version of the last event about a user's photos that was applied to their image.
ALTER TABLE profile.users ADD COLUMN photo_version bigint NOT NULL DEFAULT 0;
