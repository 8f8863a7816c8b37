-- The feed is searched by the beginning of user names, without regard to case. It is filtered and counted from its
-- own table, so that names are copied to it, by triggers like the other fields of a profile. The collation compares
-- bytes, as a search for a prefix in an index needs; names consist of ASCII letters, digits and underscores.
ALTER TABLE profile.feed_listeners
    ADD COLUMN username_key text COLLATE "C" NOT NULL DEFAULT '';

UPDATE profile.feed_listeners AS f
SET username_key = lower(u.username)
FROM profile.users AS u WHERE u.user_id = f.user_id;

CREATE FUNCTION profile.fill_username_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT lower(u.username) INTO NEW.username_key
    FROM profile.users AS u WHERE u.user_id = NEW.user_id;
    RETURN NEW;
END $$;
CREATE TRIGGER fill_username_key BEFORE INSERT ON profile.feed_listeners
    FOR EACH ROW EXECUTE FUNCTION profile.fill_username_key();

CREATE FUNCTION profile.copy_username_to_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE profile.feed_listeners SET username_key = lower(NEW.username)
    WHERE user_id = NEW.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER copy_username_to_feed
    AFTER UPDATE OF username ON profile.users
    FOR EACH ROW WHEN (OLD.username IS DISTINCT FROM NEW.username)
    EXECUTE FUNCTION profile.copy_username_to_feed();

CREATE INDEX feed_listeners_username ON profile.feed_listeners (username_key, user_id);
