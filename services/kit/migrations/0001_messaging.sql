-- What every service keeps in its own schema besides its business tables. The owner's role has
-- the schema as its search path, so the same file serves all of them.

-- Events written in the business transaction and published afterwards by the relay.
CREATE TABLE outbox (
    outbox_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject      text        NOT NULL,
    aggregate_id bigint      NOT NULL,
    payload      bytea       NOT NULL,
    traceparent  text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (outbox_id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (created_at) WHERE published_at IS NOT NULL;

-- Messages whose effect is in this database: a second delivery finds its row here.
CREATE TABLE inbox (
    consumer    text        NOT NULL,
    message_id  text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, message_id)
);
CREATE INDEX inbox_received ON inbox (received_at);

-- Messages that could not be handled, kept until an operator replays them.
CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer       text        NOT NULL,
    message_id     text        NOT NULL,
    subject        text        NOT NULL,
    payload        bytea       NOT NULL,
    traceparent    text,
    error          text        NOT NULL,
    died_at        timestamptz NOT NULL DEFAULT now(),
    replayed_at    timestamptz,
    UNIQUE (consumer, message_id)
);

-- Answers to requests that carried an Idempotency-Key (IETF draft, "The Idempotency-Key HTTP
-- Header Field"); `answer` is null while the first request is still running.
CREATE TABLE idempotency_keys (
    user_id    bigint      NOT NULL,
    route      text        NOT NULL,
    key        text        NOT NULL,
    body_hash  bytea       NOT NULL,
    answer     jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, route, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
