-- How many ratings the listener's mean is made of, as calls tells: the version of what is held.
ALTER TABLE profile.users ADD COLUMN ratings_total bigint NOT NULL DEFAULT 0;
