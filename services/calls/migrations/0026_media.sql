-- Sides of calls that the platform's media carries, each on one session. The seat of a side with the greatest epoch
-- is the present one.
CREATE TABLE calls.seats (
    call_id      bigint      NOT NULL,
    role         text        NOT NULL CHECK (role IN ('caller', 'listener')),
    -- Grows with each join of the side.
    epoch        integer     NOT NULL CHECK (epoch > 0),
    session_id   text        NOT NULL,
    -- As the app reported it last.
    state        text        NOT NULL CHECK (state IN ('joined', 'connected', 'disconnected', 'failed')),
    state_since  timestamptz NOT NULL,
    joined_at    timestamptz NOT NULL,
    -- When the side was connected first.
    connected_at timestamptz,
    left_at      timestamptz,
    -- Totals of the app's last report, from which the next one is counted.
    reported_at  timestamptz,
    tx_packets   bigint      NOT NULL DEFAULT 0,
    rx_packets   bigint      NOT NULL DEFAULT 0,
    rx_lost      bigint      NOT NULL DEFAULT 0,
    rx_energy    double precision NOT NULL DEFAULT 0,
    -- When the received packets grew last.
    rx_grew_at   timestamptz,
    -- When packets of the side grew last at the relay, from the app and to it, and the relay that counted them.
    relay_in_grew_at  timestamptz,
    relay_out_grew_at timestamptz,
    relay_realm  text,
    -- Relays for which the seat has credentials.
    realms       text[]      NOT NULL,
    -- When the relays were told to cut the seat.
    cut_at       timestamptz,
    PRIMARY KEY (call_id, role, epoch)
);
CREATE INDEX seats_uncut ON calls.seats (call_id) WHERE cut_at IS NULL;
CREATE INDEX seats_age ON calls.seats (joined_at);

-- What is known of the sound of each minute and side. Columns of the relay are null where it reported nothing of the
-- side in that minute.
CREATE TABLE calls.media_minutes (
    call_id           bigint   NOT NULL,
    minute            integer  NOT NULL CHECK (minute > 0),
    role              text     NOT NULL CHECK (role IN ('caller', 'listener')),
    relay_in_packets  bigint,
    relay_out_packets bigint,
    -- Seconds of the minute that the relay has reported.
    relay_secs        real     NOT NULL DEFAULT 0,
    client_tx_packets bigint   NOT NULL DEFAULT 0,
    client_rx_packets bigint   NOT NULL DEFAULT 0,
    rx_energy         real     NOT NULL DEFAULT 0,
    rx_lost           bigint   NOT NULL DEFAULT 0,
    rtt_ms_max        integer  NOT NULL DEFAULT 0,
    -- Seconds of the minute that the app has reported.
    client_secs       real     NOT NULL DEFAULT 0,
    PRIMARY KEY (call_id, minute, role)
);

-- What the settlement decided about the sound of each minute, once.
CREATE TABLE calls.minute_verdicts (
    call_id     bigint  NOT NULL,
    minute      integer NOT NULL CHECK (minute > 0),
    to_caller   text    NOT NULL CHECK (to_caller IN ('good', 'dead', 'unknown')),
    to_listener text    NOT NULL CHECK (to_listener IN ('good', 'dead', 'unknown')),
    -- Why the caller has the coins of the minute back; null if the caller paid it.
    refund      text    CHECK (refund IN ('listener_silent', 'relay_lost')),
    PRIMARY KEY (call_id, minute)
);
