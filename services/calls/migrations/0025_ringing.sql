-- Calls that ring before they begin. A call without `ring_expires_at` began at once.
ALTER TABLE calls.user_calls
    DROP CONSTRAINT user_calls_phase_check,
    DROP CONSTRAINT user_calls_status_check,
    ADD COLUMN media text NOT NULL DEFAULT 'own' CHECK (media IN ('own', 'platform')),
    -- When the ring ends by itself.
    ADD COLUMN ring_expires_at timestamptz,
    -- When a device of the listener began to ring.
    ADD COLUMN reached_at timestamptz,
    ADD COLUMN accepted_at timestamptz,
    -- The session of the listener that accepted.
    ADD COLUMN accepted_session text,
    -- Duration that the caller intends, in minutes; of rings, whose start is long over when they are accepted.
    ADD COLUMN estimated_minutes integer,
    ADD COLUMN outcome text
               CHECK (outcome IN ('rejected', 'cancelled', 'missed', 'unreachable', 'failed')),
    ADD COLUMN outcome_reason text,
    ADD COLUMN end_reason text,
    ADD COLUMN ended_by text CHECK (ended_by IN ('caller', 'listener', 'server', 'admin'));

-- The present rows satisfy the constraints that were dropped, which permitted less; so the table is not read.
ALTER TABLE calls.user_calls
    ADD CONSTRAINT user_calls_phase_check CHECK (phase IN
        ('ringing', 'reserving', 'connecting', 'undoing', 'active', 'settling', 'settled', 'unanswered'))
        NOT VALID,
    ADD CONSTRAINT user_calls_status_check CHECK (status IN
        ('ringing', 'connecting', 'ongoing', 'completed', 'dropped', 'cancelled', 'unanswered'))
        NOT VALID,
    ADD CONSTRAINT unanswered_costs_nothing
        CHECK (phase <> 'unanswered' OR (coins_spent = 0 AND outcome IS NOT NULL)) NOT VALID;

CREATE INDEX user_calls_unanswered_listener
    ON calls.user_calls (listener_id, created_at DESC, call_id DESC) WHERE phase = 'unanswered';
CREATE INDEX user_calls_unanswered_caller
    ON calls.user_calls (user_id, created_at DESC, call_id DESC) WHERE phase = 'unanswered';
CREATE INDEX user_calls_unanswered_age ON calls.user_calls (created_at) WHERE phase = 'unanswered';

CREATE OR REPLACE VIEW calls.call_records AS
SELECT call_id, user_id, listener_id, call_type, phase, start_time, coins_spent, user_money_spend,
       listener_money_earned, coins_per_minute, listener_paise_per_minute, listener_badge,
       prices_version, minute_secs, minutes_billed, caller_username, listener_username,
       next_step_at, created_at, updated_at,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN 'ongoing' ELSE status END AS status,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE end_time END AS end_time,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE duration_seconds END AS duration_seconds,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE duration_minutes END AS duration_minutes,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE end_reason END AS end_reason,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE ended_by END AS ended_by
FROM calls.user_calls;

-- Rings that a listener let go by one after another; a listener who answers has no row.
CREATE TABLE calls.unanswered_streaks (
    listener_id bigint  PRIMARY KEY,
    rings       integer NOT NULL CHECK (rings > 0)
);

-- The newest call that a user had seen in their list of unanswered ones.
CREATE TABLE calls.seen_unanswered (
    user_id bigint PRIMARY KEY,
    call_id bigint NOT NULL
);

-- Rings of the last thirty days, and those of them that the listener accepted, as of each night.
CREATE TABLE calls.answer_rates (
    listener_id bigint      PRIMARY KEY,
    rung        integer     NOT NULL,
    accepted    integer     NOT NULL CHECK (accepted BETWEEN 0 AND rung),
    computed_at timestamptz NOT NULL
);
