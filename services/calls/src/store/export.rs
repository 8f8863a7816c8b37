//! Sections of a user's export.

use talktime_kit::export::UserExportSection;

/// The other party of a call appears by id alone. The price belongs to the data of the caller only, the earnings
/// to those of the listener, and a rating to those of its author.
pub const SECTIONS: &[UserExportSection] = &[
    UserExportSection {
        name: "calls",
        query: "SELECT call_id, jsonb_build_object('call_id', call_id,
                    'role', CASE WHEN user_id = $1 THEN 'caller' ELSE 'listener' END,
                    'other_user_id', CASE WHEN user_id = $1 THEN listener_id ELSE user_id END,
                    'call_type', call_type, 'media', media, 'status', status,
                    'rung_at', CASE WHEN accepted_at IS NOT NULL THEN created_at END,
                    'accepted_at', accepted_at, 'start_time', start_time,
                    'end_time', end_time, 'duration_seconds', duration_seconds,
                    'end_reason', end_reason, 'ended_by', ended_by,
                    'coins_spent', CASE WHEN user_id = $1 THEN coins_spent END,
                    'money_earned', CASE WHEN listener_id = $1 THEN listener_money_earned END)
                FROM calls.user_calls
                WHERE (user_id = $1 OR listener_id = $1) AND call_id > $2
                  AND phase IN ('active', 'settling', 'settled')
                ORDER BY call_id LIMIT $3",
    },
    UserExportSection {
        name: "unanswered_calls",
        query: "SELECT call_id, jsonb_build_object('call_id', call_id,
                    'role', CASE WHEN user_id = $1 THEN 'caller' ELSE 'listener' END,
                    'other_user_id', CASE WHEN user_id = $1 THEN listener_id ELSE user_id END,
                    'call_type', call_type, 'media', media, 'rung_at', created_at,
                    'reached_at', reached_at, 'accepted_at', accepted_at, 'end_time', end_time,
                    'outcome', outcome, 'reason', outcome_reason, 'ended_by', ended_by)
                FROM calls.user_calls
                WHERE (user_id = $1 OR listener_id = $1) AND call_id > $2 AND phase = 'unanswered'
                ORDER BY call_id LIMIT $3",
    },
    UserExportSection {
        name: "answer_rate",
        query: "SELECT listener_id, jsonb_build_object('rung', rung, 'accepted', accepted,
                    'computed_at', computed_at)
                FROM calls.answer_rates WHERE listener_id = $1 AND listener_id > $2
                ORDER BY listener_id LIMIT $3",
    },
    UserExportSection {
        name: "ratings_given",
        query: "SELECT rating.call_id, jsonb_build_object('call_id', rating.call_id,
                    'listener_id', rating.listener_id, 'stars', rating.stars,
                    'comment', rating.comment, 'created_at', rating.created_at)
                FROM calls.call_ratings AS rating JOIN calls.user_calls AS call USING (call_id)
                WHERE call.user_id = $1 AND rating.call_id > $2
                ORDER BY rating.call_id LIMIT $3",
    },
    UserExportSection {
        name: "badges",
        query: "SELECT (date - date '2000-01-01')::bigint, jsonb_build_object('date', date,
                    'badge', badge, 'audio_rate_per_minute', audio_rate_per_minute,
                    'video_rate_per_minute', video_rate_per_minute)
                FROM calls.listener_badges
                WHERE listener_id = $1 AND (date - date '2000-01-01')::bigint > $2
                ORDER BY date LIMIT $3",
    },
];
