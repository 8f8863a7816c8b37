-- One login: the user is found by phone, then the rows that auth writes.
\set user random(1, 10000)
SELECT user_id, username FROM bench.users WHERE phone = concat('+91', :user::bigint);
BEGIN;
INSERT INTO bench.audit_log (happened_at, action, user_id, session_id)
VALUES (now(), 'logged_in', :user, '00000000-0000-0000-0000-000000000009');
INSERT INTO bench.outbox (subject, aggregate_id, payload)
VALUES ('events.auth.logged_in', :user, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20');
COMMIT;
