-- The order `recent` of the feed is by the latest sign of life; before, it was by registration. The key is a
-- generated column, so that whoever writes the table, also an older replica, keeps it right: microseconds
-- since 1970, and zero for a listener who has never been seen.
ALTER TABLE profile.feed_listeners
    ADD COLUMN last_seen_key bigint NOT NULL GENERATED ALWAYS AS (
        coalesce((extract(epoch FROM last_seen - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint, 0)
    ) STORED;

CREATE INDEX feed_listeners_last_seen ON profile.feed_listeners (last_seen_key, user_id);
-- `feed_listeners_online_recent` stays for older replicas.
CREATE INDEX feed_listeners_online_last_seen
    ON profile.feed_listeners (last_seen_key, user_id) WHERE is_online;
