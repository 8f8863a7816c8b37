//! The columns of a listener in the feed, for every statement that reads them: those of `profile.users AS u` and of
//! `profile.feed_listeners AS f`.

macro_rules! listener_columns {
    () => {
        "u.user_id, u.username, u.sex, u.bio, u.interests, u.profile_image_url,
         u.preferred_language, u.country, (u.rating * 100)::integer AS rating_hundredths,
         ARRAY(SELECT role FROM profile.user_roles AS r
               WHERE r.user_id = u.user_id AND r.active ORDER BY role) AS roles,
         f.is_online, f.is_busy, f.wait_time, f.last_seen, f.call_count, f.total_call_secs,
         f.answer_percent, f.is_verified, f.accepting_calls, f.audio_enabled, f.video_enabled"
    };
}

pub(super) use listener_columns;
