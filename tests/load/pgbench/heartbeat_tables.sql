-- A table like presence's, apart from it.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.user_status (LIKE presence.user_status INCLUDING ALL);
INSERT INTO bench.user_status (user_id, is_online, last_seen, created_at, updated_at)
SELECT user_id, true, now(), now(), now() FROM generate_series(1, 10000) AS user_id;
