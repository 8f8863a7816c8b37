-- What callers say of listeners: once a call.
CREATE TABLE calls.call_ratings (
    call_id     bigint      PRIMARY KEY REFERENCES calls.user_calls ON DELETE CASCADE,
    listener_id bigint      NOT NULL,
    stars       smallint    NOT NULL CHECK (stars BETWEEN 1 AND 5),
    comment     text,
    created_at  timestamptz NOT NULL
);
CREATE INDEX call_ratings_listener ON calls.call_ratings (listener_id);

-- Their sum, which every rating of a listener adds to under this row's lock: how many there are orders
-- the events.
CREATE TABLE calls.listener_ratings (
    listener_id   bigint PRIMARY KEY,
    stars_total   bigint NOT NULL,
    ratings_total bigint NOT NULL CHECK (ratings_total > 0)
);
