-- The party of a live call that has blocked the other: the call ends with its paid minute.
SELECT lock_exclusively('calls.user_calls');
ALTER TABLE calls.user_calls
    ADD COLUMN blocked_by text,
    ADD CONSTRAINT user_calls_blocked_by_check CHECK (blocked_by IN ('caller', 'listener', 'server')) NOT VALID;
