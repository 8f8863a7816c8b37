-- Listeners who are online may take no calls at all (presence tells by events), or only those of one type
-- (their own choice, kept here).

ALTER TABLE profile.users
    ADD COLUMN audio_enabled boolean NOT NULL DEFAULT true,
    ADD COLUMN video_enabled boolean NOT NULL DEFAULT true,
    ADD CONSTRAINT users_take_some_calls CHECK (audio_enabled OR video_enabled);

ALTER TABLE profile.feed_listeners
    ADD COLUMN accepting_calls boolean NOT NULL DEFAULT true,
    ADD COLUMN audio_enabled   boolean NOT NULL DEFAULT true,
    ADD COLUMN video_enabled   boolean NOT NULL DEFAULT true,
    -- A generated column gets another expression only by being made anew; its index goes with it.
    DROP COLUMN availability;
ALTER TABLE profile.feed_listeners
    -- 2 when free for a call, 1 when on one or taking none, 0 when away: the order of the feed.
    ADD COLUMN availability bigint NOT NULL GENERATED ALWAYS AS
        (CASE WHEN NOT is_online THEN 0 WHEN is_busy OR NOT accepting_calls THEN 1 ELSE 2 END) STORED;
CREATE INDEX feed_listeners_availability ON profile.feed_listeners (availability, user_id);

-- Preferences are copied to the feed as the rest of a profile is.
CREATE OR REPLACE FUNCTION profile.fill_feed_listener() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT u.sex, coalesce((u.rating * 100)::bigint, 0), u.interests, u.preferred_language,
           u.audio_enabled, u.video_enabled
    INTO NEW.sex, NEW.rating_key, NEW.interests, NEW.preferred_language,
         NEW.audio_enabled, NEW.video_enabled
    FROM profile.users AS u WHERE u.user_id = NEW.user_id;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION profile.copy_user_to_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE profile.feed_listeners
    SET sex = NEW.sex, rating_key = coalesce((NEW.rating * 100)::bigint, 0),
        interests = NEW.interests, preferred_language = NEW.preferred_language,
        audio_enabled = NEW.audio_enabled, video_enabled = NEW.video_enabled
    WHERE user_id = NEW.user_id;
    RETURN NULL;
END $$;
DROP TRIGGER copy_to_feed ON profile.users;
CREATE TRIGGER copy_to_feed
    AFTER UPDATE OF sex, rating, interests, preferred_language, audio_enabled, video_enabled
    ON profile.users
    FOR EACH ROW
    WHEN ((OLD.sex, OLD.rating, OLD.interests, OLD.preferred_language, OLD.audio_enabled, OLD.video_enabled)
          IS DISTINCT FROM
          (NEW.sex, NEW.rating, NEW.interests, NEW.preferred_language, NEW.audio_enabled, NEW.video_enabled))
    EXECUTE FUNCTION profile.copy_user_to_feed();
