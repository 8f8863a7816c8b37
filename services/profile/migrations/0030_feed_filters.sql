-- Filters by interest and language ignore case, and a language is found in each of its tags. The feed's
-- table holds what they compare as generated columns, so that whoever writes it, also an older replica,
-- keeps them right.

-- Interests as they are compared: each once, in normalization form C and in lower case, without the
-- joiners, which are not seen. The collation is named, since that of the database may know only ASCII.
CREATE FUNCTION profile.interest_keys(interests text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT
        lower(normalize(translate(interest, U&'\200C\200D', ''), NFC) COLLATE "und-x-icu")
        COLLATE "C"), '{}')
    FROM unnest(interests) AS interest
$$;

ALTER TABLE profile.feed_listeners
    ADD COLUMN interest_keys text[] NOT NULL
        GENERATED ALWAYS AS (profile.interest_keys(interests)) STORED,
    -- The primary language subtag (RFC 5646), in lower case.
    ADD COLUMN language text NOT NULL
        GENERATED ALWAYS AS (lower(split_part(preferred_language, '-', 1))) STORED;

-- The indexes over `interests` and `preferred_language` stay for older replicas.
CREATE INDEX feed_listeners_interest_keys ON profile.feed_listeners USING gin (interest_keys);
CREATE INDEX feed_listeners_primary_language
    ON profile.feed_listeners (language, rating_key, user_id);
