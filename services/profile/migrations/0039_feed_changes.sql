-- Each replica keeps the feed in memory and asks for what has changed. Rows bear the transaction that wrote them last, so
-- that the snapshot of an earlier question tells exactly which of them are new, in whatever order transactions commit.
SELECT lock_exclusively('profile.users, profile.user_roles, profile.feed_listeners');

ALTER TABLE profile.feed_listeners
    -- Rows from before this migration bear no transaction; a replica reads them when it starts.
    ADD COLUMN changed_xid xid8 NOT NULL DEFAULT '0';

CREATE FUNCTION profile.stamp_feed_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER stamp_change BEFORE INSERT OR UPDATE ON profile.feed_listeners
    FOR EACH ROW EXECUTE FUNCTION profile.stamp_feed_change();

-- Listeners who have left the feed. Rows are deleted after an hour; a replica that has not asked for so long reads the
-- whole feed again.
CREATE TABLE profile.feed_removals (
    removal_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     bigint      NOT NULL,
    changed_xid xid8        NOT NULL DEFAULT pg_current_xact_id(),
    removed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX feed_removals_changed_xid ON profile.feed_removals (changed_xid);

CREATE FUNCTION profile.record_feed_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO profile.feed_removals (user_id) VALUES (OLD.user_id);
    RETURN NULL;
END $$;
CREATE TRIGGER record_removal AFTER DELETE ON profile.feed_listeners
    FOR EACH ROW EXECUTE FUNCTION profile.record_feed_removal();

-- Pages also show what is not copied to the feed's table. A change of it counts as a change of the row.
CREATE FUNCTION profile.touch_feed_listener() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed_id bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
BEGIN
    UPDATE profile.feed_listeners SET changed_xid = pg_current_xact_id() WHERE user_id = changed_id;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_feed AFTER UPDATE OF bio, profile_image_url, country ON profile.users
    FOR EACH ROW
    WHEN ((OLD.bio, OLD.profile_image_url, OLD.country)
          IS DISTINCT FROM (NEW.bio, NEW.profile_image_url, NEW.country))
    EXECUTE FUNCTION profile.touch_feed_listener();
-- The role of a listener itself inserts or deletes the row.
CREATE TRIGGER touch_feed_for_new_role AFTER INSERT OR UPDATE OF active ON profile.user_roles
    FOR EACH ROW WHEN (NEW.role <> 'listener') EXECUTE FUNCTION profile.touch_feed_listener();
CREATE TRIGGER touch_feed_for_old_role AFTER DELETE ON profile.user_roles
    FOR EACH ROW WHEN (OLD.role <> 'listener') EXECUTE FUNCTION profile.touch_feed_listener();

-- The listeners who have changed since a snapshot: by the transactions that were under way then, and by those that began
-- later. A row that was restored from another server may bear a transaction that has not begun on this one; it has not
-- changed since. The planner knows nothing about future transactions, and would read the whole table for them,
-- and planning would take longer than the search.
CREATE FUNCTION profile.list_feed_changes(since pg_snapshot, most bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    under_way xid8[] := ARRAY(SELECT pg_snapshot_xip(since));
    first_new xid8 := pg_snapshot_xmax(since);
    next_xid xid8 := pg_snapshot_xmax(pg_current_snapshot());
BEGIN
    RETURN ARRAY(
        SELECT user_id FROM profile.feed_listeners
        WHERE changed_xid >= first_new AND changed_xid < next_xid
        UNION ALL
        SELECT user_id FROM profile.feed_listeners WHERE changed_xid = ANY(under_way)
        UNION ALL
        SELECT user_id FROM profile.feed_removals
        WHERE changed_xid >= first_new AND changed_xid < next_xid
        UNION ALL
        SELECT user_id FROM profile.feed_removals WHERE changed_xid = ANY(under_way)
        LIMIT most
    );
END $$;

-- The users whom blocks in either direction hide from viewers. Planning for each array would take longer than the search.
CREATE FUNCTION profile.list_hidden_users(viewers bigint[]) RETURNS TABLE (viewer_id bigint, hidden_id bigint)
LANGUAGE plpgsql STABLE ROWS 10
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN QUERY
    SELECT blocker_id, blocked_id FROM profile.user_blocks WHERE blocker_id = ANY(viewers)
    UNION ALL
    SELECT blocked_id, blocker_id FROM profile.user_blocks WHERE blocked_id = ANY(viewers);
END $$;
