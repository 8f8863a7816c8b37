-- Relays that carry the platform's media, and when the agent beside each reported last.
CREATE TABLE calls.relay_nodes (
    realm       text        PRIMARY KEY,
    urls        text[]      NOT NULL,
    is_draining boolean     NOT NULL,
    reported_at timestamptz NOT NULL
);

-- Totals of each allocation at a relay, as counted at the side of the app. Relays use session ids again after a
-- restart, hence the user name in the key.
CREATE TABLE calls.relay_allocations (
    realm       text        NOT NULL,
    allocation  text        NOT NULL,
    -- `<expiry>:<call_id>.<role>.<epoch>`.
    username    text        NOT NULL,
    call_id     bigint      NOT NULL,
    role        text        NOT NULL CHECK (role IN ('caller', 'listener')),
    epoch       integer     NOT NULL,
    began_at    timestamptz NOT NULL,
    ended_at    timestamptz,
    last_seq    bigint      NOT NULL,
    in_packets  bigint      NOT NULL,
    in_bytes    bigint      NOT NULL,
    out_packets bigint      NOT NULL,
    out_bytes   bigint      NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (realm, allocation, username)
);
CREATE INDEX relay_allocations_call ON calls.relay_allocations (call_id);
CREATE INDEX relay_allocations_age ON calls.relay_allocations (reported_at);
