-- The feed is filtered, sorted and counted from one table. What it needs of a person's profile is
-- copied here by triggers, in the transaction that changes the profile: whoever writes to `users` or
-- `user_roles`, the copy never lags and cannot be forgotten.

ALTER TABLE profile.feed_listeners
    ADD COLUMN sex                text   NOT NULL DEFAULT 'other',
    -- Mean of the stars in hundredths; zero before the first.
    ADD COLUMN rating_key         bigint NOT NULL DEFAULT 0,
    ADD COLUMN interests          text[] NOT NULL DEFAULT '{}',
    ADD COLUMN preferred_language text   NOT NULL DEFAULT 'en';

UPDATE profile.feed_listeners AS f
SET sex = u.sex, rating_key = coalesce((u.rating * 100)::bigint, 0), interests = u.interests,
    preferred_language = u.preferred_language
FROM profile.users AS u WHERE u.user_id = f.user_id;

CREATE FUNCTION profile.fill_feed_listener() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT u.sex, coalesce((u.rating * 100)::bigint, 0), u.interests, u.preferred_language
    INTO NEW.sex, NEW.rating_key, NEW.interests, NEW.preferred_language
    FROM profile.users AS u WHERE u.user_id = NEW.user_id;
    RETURN NEW;
END $$;
CREATE TRIGGER fill BEFORE INSERT ON profile.feed_listeners
    FOR EACH ROW EXECUTE FUNCTION profile.fill_feed_listener();

CREATE FUNCTION profile.copy_user_to_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE profile.feed_listeners
    SET sex = NEW.sex, rating_key = coalesce((NEW.rating * 100)::bigint, 0),
        interests = NEW.interests, preferred_language = NEW.preferred_language
    WHERE user_id = NEW.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER copy_to_feed
    AFTER UPDATE OF sex, rating, interests, preferred_language ON profile.users
    FOR EACH ROW
    WHEN ((OLD.sex, OLD.rating, OLD.interests, OLD.preferred_language)
          IS DISTINCT FROM (NEW.sex, NEW.rating, NEW.interests, NEW.preferred_language))
    EXECUTE FUNCTION profile.copy_user_to_feed();

-- Who is a listener is in the feed, offline until presence tells otherwise; who is none is not.
CREATE FUNCTION profile.follow_listener_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND NEW.active THEN
        INSERT INTO profile.feed_listeners (user_id) VALUES (NEW.user_id)
        ON CONFLICT (user_id) DO NOTHING;
    ELSE
        DELETE FROM profile.feed_listeners WHERE user_id = OLD.user_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_listener_role AFTER UPDATE OF active ON profile.user_roles
    FOR EACH ROW WHEN (NEW.role = 'listener') EXECUTE FUNCTION profile.follow_listener_role();
CREATE TRIGGER begin_listener_role AFTER INSERT ON profile.user_roles
    FOR EACH ROW WHEN (NEW.role = 'listener' AND NEW.active)
    EXECUTE FUNCTION profile.follow_listener_role();
CREATE TRIGGER end_listener_role AFTER DELETE ON profile.user_roles
    FOR EACH ROW WHEN (OLD.role = 'listener') EXECUTE FUNCTION profile.follow_listener_role();

-- Each order by itself, and of those online; each filter that may leave few of many. The order of
-- availability has its index since the first migration, that of registration is the primary key.
CREATE INDEX feed_listeners_rating ON profile.feed_listeners (rating_key, user_id);
CREATE INDEX feed_listeners_online_rating
    ON profile.feed_listeners (rating_key, user_id) WHERE is_online;
CREATE INDEX feed_listeners_online_recent ON profile.feed_listeners (user_id) WHERE is_online;
CREATE INDEX feed_listeners_language
    ON profile.feed_listeners (preferred_language, rating_key, user_id);
CREATE INDEX feed_listeners_sex ON profile.feed_listeners (sex, rating_key, user_id);
CREATE INDEX feed_listeners_interests ON profile.feed_listeners USING gin (interests);

-- Sorting and filtering by rating reads the feed's table.
DROP INDEX profile.users_rating;
DROP INDEX profile.users_interests;
