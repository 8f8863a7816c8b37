//! Sections of a user's export.

use talktime_kit::export::UserExportSection;

/// The name of an operator who granted or revoked a role is not the user's data.
pub const SECTIONS: &[UserExportSection] = &[UserExportSection {
    name: "security_events",
    query: "SELECT audit_id, jsonb_build_object('happened_at', happened_at, 'action', action,
                'session_id', session_id)
            FROM auth.audit_log WHERE user_id = $1 AND audit_id > $2
            ORDER BY audit_id LIMIT $3",
}];
