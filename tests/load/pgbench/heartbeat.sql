-- One sign of life: one row, one commit.
\set user random(1, 10000)
UPDATE bench.user_status SET last_seen = now() WHERE user_id = :user;
