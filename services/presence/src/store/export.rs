//! Sections of a user's export.

use talktime_kit::export::UserExportSection;

pub const SECTIONS: &[UserExportSection] = &[UserExportSection {
    name: "status",
    query: "SELECT user_id, jsonb_build_object('is_online', is_online, 'is_busy', is_busy,
                'wait_time', wait_time, 'last_seen', last_seen, 'created_at', created_at,
                'updated_at', updated_at)
            FROM presence.user_status WHERE user_id = $1 AND user_id > $2
            ORDER BY user_id LIMIT $3",
}];
