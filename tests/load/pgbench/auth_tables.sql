-- Tables like auth's, with everything that makes writing them cost what it costs there.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
-- Partitions have the indexes of their table, and the table has the ids.
CREATE TABLE bench.audit_log (LIKE auth.audit_log_first INCLUDING ALL);
ALTER TABLE bench.audit_log ALTER audit_id ADD GENERATED ALWAYS AS IDENTITY;
CREATE TABLE bench.outbox (LIKE auth.outbox INCLUDING ALL);
CREATE TABLE bench.users (LIKE profile.users INCLUDING ALL);
INSERT INTO bench.users (username, phone, sex, dob)
SELECT concat('bench_', n), concat('+91', n), 'female', '1990-01-01' FROM generate_series(1, 10000) AS n;
