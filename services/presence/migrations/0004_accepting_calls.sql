-- Whether a person takes calls. It stays as it is until it is set again; `is_online` and `is_busy` are changed
-- by signs of life and by the sweep as well.
ALTER TABLE presence.user_status
    ADD COLUMN accepting_calls      boolean NOT NULL DEFAULT true,
    -- When they last said so themselves: what the server decided before that counts no more.
    ADD COLUMN accepting_changed_at timestamptz;
