-- What a sign of life must not undo, though it was sent before and arrives after.
ALTER TABLE presence.user_status
    -- The sessions that ended last, newest first.
    ADD COLUMN ended_session_ids text[] NOT NULL DEFAULT '{}',
    -- The latest time that the user went offline by their own word, as a gateway accepted it.
    ADD COLUMN went_offline_at   timestamptz;
