-- A call that is hung up in a minute that nobody has charged yet comes to what the settlement finds the
-- caller able to pay. Until it is settled its row holds what it would come to, which nobody may see.
ALTER TABLE calls.user_calls
    ADD COLUMN figures_follow_settlement boolean NOT NULL DEFAULT false;

-- Calls as everybody but their saga sees them: one whose figures are not certain has not ended yet.
CREATE VIEW calls.call_records AS
SELECT call_id, user_id, listener_id, call_type, phase, start_time, coins_spent, user_money_spend,
       listener_money_earned, coins_per_minute, listener_paise_per_minute, listener_badge,
       prices_version, minute_secs, minutes_billed, caller_username, listener_username,
       next_step_at, created_at, updated_at,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN 'ongoing' ELSE status END AS status,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE end_time END AS end_time,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE duration_seconds END AS duration_seconds,
       CASE WHEN figures_follow_settlement AND phase = 'settling'
            THEN NULL ELSE duration_minutes END AS duration_minutes
FROM calls.user_calls;
