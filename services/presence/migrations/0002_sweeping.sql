-- A heartbeat moves last_seen alone. An index on it would make each heartbeat write a new version of
-- every index entry of the row; the sweep has a column of its own that heartbeats do not touch.
DROP INDEX presence.user_status_last_seen;

ALTER TABLE presence.user_status
    -- Seen then, as the last sweep found; they may have been seen later.
    ADD COLUMN swept_seen_at   timestamptz NOT NULL DEFAULT '-infinity',
    -- Since when they are busy by their own word, without a call.
    ADD COLUMN busy_since      timestamptz,
    ADD COLUMN is_listener     boolean     NOT NULL DEFAULT false,
    -- Version of the profile that the role comes from.
    ADD COLUMN role_version    bigint      NOT NULL DEFAULT 0,
    -- When others last saw something change.
    ADD COLUMN status_changed_at timestamptz NOT NULL DEFAULT now();

UPDATE presence.user_status SET busy_since = updated_at WHERE is_busy AND call_id IS NULL;

CREATE INDEX user_status_silent ON presence.user_status (swept_seen_at) WHERE is_online;
CREATE INDEX user_status_on_call ON presence.user_status (user_id) WHERE call_id IS NOT NULL;
CREATE INDEX user_status_busy ON presence.user_status (busy_since) WHERE busy_since IS NOT NULL;
CREATE INDEX user_status_newest_listeners
    ON presence.user_status (status_changed_at) WHERE is_online AND is_listener;
CREATE INDEX user_status_newest ON presence.user_status (status_changed_at) WHERE is_online;

-- Room on each page for the next version of its rows.
ALTER TABLE presence.user_status SET (fillfactor = 70);
