-- Tables like auth's, with everything that makes writing them cost what it costs there.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.audit_log (LIKE auth.audit_log INCLUDING ALL);
CREATE TABLE bench.outbox (LIKE auth.outbox INCLUDING ALL);
CREATE TABLE bench.users (LIKE profile.users INCLUDING ALL);
INSERT INTO bench.users (username, phone, sex, dob)
SELECT concat('bench_', n), concat('+91', n), 'female', '1990-01-01' FROM generate_series(1, 10000) AS n;
