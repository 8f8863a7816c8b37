-- Whether coins that were given to the caller have paid a part of the call. They may earn the listener less than the rate, which
-- the wallet decides at the settlement, so the figures of such a call are not certain before.
SELECT lock_exclusively('calls.user_calls');
ALTER TABLE calls.user_calls ADD COLUMN has_bonus boolean NOT NULL DEFAULT false;
