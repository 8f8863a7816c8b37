CREATE TABLE calls.user_calls (
    call_id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id               bigint        NOT NULL,
    listener_id           bigint        NOT NULL,
    call_type             text          NOT NULL CHECK (call_type IN ('audio', 'video')),
    status                text          NOT NULL
                          CHECK (status IN ('ongoing', 'completed', 'dropped', 'cancelled')),
    -- Where the call's saga stands. Only `active` and later is a call that anyone may see.
    phase                 text          NOT NULL
                          CHECK (phase IN ('reserving', 'undoing', 'active', 'settling', 'settled')),
    start_time            timestamptz,
    end_time              timestamptz,
    duration_seconds      bigint,
    duration_minutes      integer,
    coins_spent           bigint        NOT NULL DEFAULT 0 CHECK (coins_spent >= 0),
    user_money_spend      numeric(12,2) NOT NULL DEFAULT 0,
    listener_money_earned numeric(12,2) NOT NULL DEFAULT 0,
    -- Prices are those of the call's start, whatever changes meanwhile.
    coins_per_minute          bigint    NOT NULL CHECK (coins_per_minute > 0),
    listener_paise_per_minute bigint    NOT NULL CHECK (listener_paise_per_minute >= 0),
    minute_secs               integer   NOT NULL CHECK (minute_secs > 0),
    minutes_billed            integer   NOT NULL DEFAULT 0,
    -- How many minutes the settlement counts: decided once, then kept.
    minutes_settled           integer,
    -- When the sweeper is to look at this call; null when there is nothing left to do.
    next_step_at          timestamptz,
    caller_username       text          NOT NULL,
    listener_username     text          NOT NULL,
    idempotency_key       text,
    -- Grows with every event of this call.
    version               bigint        NOT NULL DEFAULT 0,
    created_at            timestamptz   NOT NULL,
    updated_at            timestamptz   NOT NULL,
    CHECK (user_id <> listener_id)
);
CREATE INDEX user_calls_due ON calls.user_calls (next_step_at) WHERE next_step_at IS NOT NULL;
CREATE INDEX user_calls_caller ON calls.user_calls (user_id, created_at DESC, call_id DESC);
CREATE INDEX user_calls_listener ON calls.user_calls (listener_id, created_at DESC, call_id DESC);

-- Who is on a call now, as caller or listener: one live call a person, by primary key.
CREATE TABLE calls.live_parties (
    user_id bigint PRIMARY KEY,
    call_id bigint NOT NULL REFERENCES calls.user_calls ON DELETE CASCADE
);
CREATE INDEX live_parties_call ON calls.live_parties (call_id);

-- What a listener earns a minute on a day (contract, section 10).
CREATE TABLE calls.listener_badges (
    listener_id           bigint        NOT NULL,
    date                  date          NOT NULL,
    badge                 text          NOT NULL
                          CHECK (badge IN ('basic', 'bronze', 'silver', 'gold')),
    audio_rate_per_minute numeric(12,2) NOT NULL,
    video_rate_per_minute numeric(12,2) NOT NULL,
    assigned_at           timestamptz   NOT NULL,
    PRIMARY KEY (listener_id, date)
);
