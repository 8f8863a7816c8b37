-- People, what they may do, whom they like and whom they do not want to see; and the feed.

CREATE TABLE profile.users (
    user_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username           text        NOT NULL,
    phone              text        NOT NULL,
    sex                text        NOT NULL CHECK (sex IN ('male', 'female', 'other')),
    dob                date        NOT NULL,
    bio                text,
    interests          text[]      NOT NULL DEFAULT '{}',
    profile_image_url  text,
    preferred_language text        NOT NULL DEFAULT 'en',
    -- Mean of the stars; null before the first.
    rating             numeric(3,2) CHECK (rating BETWEEN 0 AND 5),
    country            text,
    -- The registration that made this user, and a hash of what it said: the same one sent again
    -- finds its user. Null for users that came in another way.
    registration_id    text,
    registration_hash  bytea,
    -- Grows with every change; the version of this user's events.
    version            bigint      NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_phone_key UNIQUE (phone),
    CONSTRAINT users_registration_id_key UNIQUE (registration_id)
);
CREATE UNIQUE INDEX users_username_key ON profile.users (lower(username));
CREATE INDEX users_interests ON profile.users USING gin (interests);
CREATE INDEX users_rating ON profile.users (coalesce((rating * 100)::bigint, 0), user_id);

CREATE TABLE profile.user_roles (
    user_id    bigint      NOT NULL REFERENCES profile.users ON DELETE CASCADE,
    role       text        NOT NULL CHECK (role IN ('user', 'listener', 'admin')),
    active     boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, role)
);

CREATE TABLE profile.user_favorites (
    favoriter_id bigint      NOT NULL REFERENCES profile.users ON DELETE CASCADE,
    favoritee_id bigint      NOT NULL REFERENCES profile.users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (favoriter_id, favoritee_id),
    CHECK (favoriter_id <> favoritee_id)
);
CREATE INDEX user_favorites_favoritee ON profile.user_favorites (favoritee_id);

CREATE TABLE profile.user_blocks (
    blocker_id  bigint      NOT NULL REFERENCES profile.users ON DELETE CASCADE,
    blocked_id  bigint      NOT NULL REFERENCES profile.users ON DELETE CASCADE,
    action_type text        NOT NULL CHECK (action_type IN ('block', 'report')),
    reason      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (blocker_id, blocked_id),
    CHECK (blocker_id <> blocked_id)
);
CREATE INDEX user_blocks_blocked ON profile.user_blocks (blocked_id, blocker_id);

-- The feed's read model: one row a listener, with what other services tell by events. It may lag
-- behind them by a second; names, ratings and blocks come from the tables above and never lag.
CREATE TABLE profile.feed_listeners (
    user_id         bigint PRIMARY KEY REFERENCES profile.users ON DELETE CASCADE,
    is_online       boolean     NOT NULL DEFAULT false,
    is_busy         boolean     NOT NULL DEFAULT false,
    -- Minutes.
    wait_time       integer,
    last_seen       timestamptz,
    -- Version of the status that is held; zero before the first.
    status_version  bigint      NOT NULL DEFAULT 0,
    call_count      bigint      NOT NULL DEFAULT 0,
    total_call_secs bigint      NOT NULL DEFAULT 0,
    -- 2 when free for a call, 1 when on one, 0 when away: the order of the feed.
    availability    bigint      NOT NULL GENERATED ALWAYS AS
                    (CASE WHEN NOT is_online THEN 0 WHEN is_busy THEN 1 ELSE 2 END) STORED
);
CREATE INDEX feed_listeners_availability ON profile.feed_listeners (availability, user_id);
