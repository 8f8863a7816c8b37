-- The answer rates that calls computes each night, as the feed shows them.

ALTER TABLE profile.feed_listeners
    -- Accepted rings of the last thirty days in percent; null below twenty rings.
    ADD COLUMN answer_percent integer CHECK (answer_percent BETWEEN 0 AND 100);
