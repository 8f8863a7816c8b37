-- One ring that its caller takes back: the rows that calls and presence write, in one transaction.
\set pair random(1, 5000)
\set caller :pair * 2
\set listener :pair * 2 - 1
\set call random(1, 9000000000000000000)
BEGIN;
INSERT INTO bench.user_calls
    (call_id, user_id, listener_id, call_type, status, phase, start_time, coins_per_minute,
     listener_paise_per_minute, minute_secs, caller_username, listener_username, ring_expires_at, next_step_at,
     created_at, updated_at)
OVERRIDING SYSTEM VALUE
VALUES (:call, :caller, :listener, 'audio', 'ringing', 'ringing', now(), 10, 100, 60, 'caller', 'listener',
        now() + interval '40 seconds', now() + interval '15 seconds', now(), now());
INSERT INTO bench.live_parties (user_id, call_id) VALUES (:caller, :call), (:listener, :call);
INSERT INTO bench.outbox (subject, aggregate_id, payload)
SELECT 'events.calls.call_ringing', :call, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20'
FROM generate_series(1, 3);
UPDATE bench.user_status SET is_busy = true, call_id = :call, version = version + 1, updated_at = now()
WHERE user_id IN (:caller, :listener);
UPDATE bench.user_calls
SET phase = 'unanswered', status = 'unanswered', outcome = 'cancelled', outcome_reason = 'hung_up',
    ended_by = 'caller', end_time = now(), next_step_at = NULL, version = 1
WHERE call_id = :call;
DELETE FROM bench.live_parties WHERE call_id = :call;
INSERT INTO bench.outbox (subject, aggregate_id, payload)
SELECT 'events.calls.call_unanswered', :call, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20'
FROM generate_series(1, 3);
UPDATE bench.user_status SET is_busy = false, call_id = NULL, version = version + 1, updated_at = now()
WHERE user_id IN (:caller, :listener);
COMMIT;
