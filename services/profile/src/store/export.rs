//! Sections of a user's export.

use talktime_kit::export::UserExportSection;

/// Other users appear by their ids alone.
pub const SECTIONS: &[UserExportSection] = &[
    UserExportSection {
        name: "profile",
        query: "SELECT user_id, jsonb_build_object('user_id', user_id, 'phone', phone,
                    'username', username, 'sex', sex, 'dob', dob, 'bio', bio,
                    'interests', interests, 'profile_image_url', profile_image_url,
                    'preferred_language', preferred_language, 'rating', rating,
                    'country', country, 'created_at', created_at, 'updated_at', updated_at)
                FROM profile.users WHERE user_id = $1 AND user_id > $2
                ORDER BY user_id LIMIT $3",
    },
    UserExportSection {
        name: "roles",
        query: "SELECT number, record FROM (
                    SELECT row_number() OVER (ORDER BY role) AS number,
                           jsonb_build_object('role', role, 'active', active,
                               'created_at', created_at) AS record
                    FROM profile.user_roles WHERE user_id = $1) AS numbered
                WHERE number > $2 ORDER BY number LIMIT $3",
    },
    UserExportSection {
        name: "favorites",
        query: "SELECT favoritee_id, jsonb_build_object('listener_id', favoritee_id,
                    'created_at', created_at)
                FROM profile.user_favorites WHERE favoriter_id = $1 AND favoritee_id > $2
                ORDER BY favoritee_id LIMIT $3",
    },
    UserExportSection {
        name: "blocks",
        query: "SELECT blocked_id, jsonb_build_object('blocked_id', blocked_id,
                    'action_type', action_type, 'reason', reason, 'created_at', created_at)
                FROM profile.user_blocks WHERE blocker_id = $1 AND blocked_id > $2
                ORDER BY blocked_id LIMIT $3",
    },
];
