-- What began since midnight, and what began in a month, are ranges of the start time.
CREATE INDEX user_calls_started ON calls.user_calls (start_time) WHERE start_time IS NOT NULL;
