//! The columns of [`Call`](crate::domain::call::Call), for every statement that reads or returns whole rows.

macro_rules! call_columns {
    () => {
        "call_id, user_id, listener_id, call_type, status, phase, start_time, duration_seconds,
         duration_minutes, coins_spent, (user_money_spend * 100)::bigint AS user_paise_spent,
         (listener_money_earned * 100)::bigint AS listener_paise_earned,
         coins_per_minute, listener_paise_per_minute, listener_badge, prices_version,
         minute_secs, minutes_billed, minutes_settled, figures_follow_settlement, low_balance_told,
         has_bonus,
         caller_username, listener_username, idempotency_key, version, media, ring_expires_at,
         reached_at, accepted_at, accepted_session, estimated_minutes, outcome, outcome_reason,
         end_reason, ended_by, blocked_by, created_at, clock_timestamp() AS read_at"
    };
}

pub(super) use call_columns;
