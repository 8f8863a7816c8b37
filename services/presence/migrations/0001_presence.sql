-- Who is online and who is busy: one row a person. The first lines are what people see; the last
-- ones judge messages that come late, twice or in the wrong order.

CREATE TABLE presence.user_status (
    user_id            bigint PRIMARY KEY,
    -- Empty until a login or the profile tells it.
    username           text        NOT NULL DEFAULT '',
    is_online          boolean     NOT NULL DEFAULT false,
    is_busy            boolean     NOT NULL DEFAULT false,
    -- Minutes until free, as the person or the call says.
    wait_time          integer CHECK (wait_time >= 0),
    last_seen          timestamptz NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    -- Grows with every visible change; zero before the first. The version of this person's events.
    version            bigint      NOT NULL DEFAULT 0,
    -- The live call that makes the person busy.
    call_id            bigint,
    -- The latest call known to be over: no older one begins any more.
    last_ended_call_id bigint,
    -- The latest login or logout known.
    session_changed_at timestamptz,
    -- Version of the profile that the name comes from; zero when it comes from a login.
    profile_version    bigint      NOT NULL DEFAULT 0,
    CHECK (is_busy OR call_id IS NULL)
);
CREATE INDEX user_status_last_seen ON presence.user_status (last_seen) WHERE is_online;

-- People who are gone: what is heard of them late makes no new row. Ids are never given again.
CREATE TABLE presence.deleted_users (
    user_id    bigint PRIMARY KEY,
    deleted_at timestamptz NOT NULL
);
