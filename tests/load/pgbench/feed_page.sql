\set viewer random(1, 1000)
\set kind random(1, 10)
\set skipped 20 * random(0, 4)
SELECT blocked_id FROM profile.user_blocks WHERE blocker_id = :viewer
UNION SELECT blocker_id FROM profile.user_blocks WHERE blocked_id = :viewer;
\if :kind <= 4
SELECT f.*, u.username, u.bio, u.country, u.profile_image_url,
       ARRAY(SELECT role FROM profile.user_roles AS r WHERE r.user_id = u.user_id AND r.active ORDER BY role)
FROM (SELECT * FROM profile.feed_listeners WHERE user_id <> :viewer
      ORDER BY availability DESC, user_id DESC LIMIT 21 OFFSET :skipped) AS f
JOIN profile.users AS u USING (user_id) ORDER BY f.availability DESC, user_id DESC;
\elif :kind <= 6
SELECT f.*, u.username, u.bio, u.country, u.profile_image_url,
       ARRAY(SELECT role FROM profile.user_roles AS r WHERE r.user_id = u.user_id AND r.active ORDER BY role)
FROM (SELECT * FROM profile.feed_listeners WHERE user_id <> :viewer AND is_online AND NOT is_busy AND accepting_calls
      ORDER BY rating_key DESC, user_id DESC LIMIT 21 OFFSET :skipped) AS f
JOIN profile.users AS u USING (user_id) ORDER BY f.rating_key DESC, user_id DESC;
\elif :kind <= 8
SELECT f.*, u.username, u.bio, u.country, u.profile_image_url,
       ARRAY(SELECT role FROM profile.user_roles AS r WHERE r.user_id = u.user_id AND r.active ORDER BY role)
FROM (SELECT * FROM profile.feed_listeners WHERE user_id <> :viewer AND interest_keys && ARRAY['topic 31', 'topic 62']
      ORDER BY availability DESC, user_id DESC LIMIT 21 OFFSET :skipped) AS f
JOIN profile.users AS u USING (user_id) ORDER BY f.availability DESC, user_id DESC;
\else
SELECT f.*, u.username, u.bio, u.country, u.profile_image_url,
       ARRAY(SELECT role FROM profile.user_roles AS r WHERE r.user_id = u.user_id AND r.active ORDER BY role)
FROM (SELECT * FROM profile.feed_listeners WHERE user_id <> :viewer
      ORDER BY rating_key DESC, user_id DESC LIMIT 21 OFFSET 9980) AS f
JOIN profile.users AS u USING (user_id) ORDER BY f.rating_key DESC, user_id DESC;
\endif
SELECT count(*), count(*) FILTER (WHERE is_online), count(*) FILTER (WHERE availability = 2)
FROM profile.feed_listeners WHERE user_id = :viewer;
