-- The page of a listener shows how many ratings have one star, two, and so on. They are counted from this index
-- alone, which replaces the one without stars.
CREATE INDEX call_ratings_stars ON calls.call_ratings (listener_id, stars);
DROP INDEX calls.call_ratings_listener;
