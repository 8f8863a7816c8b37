//! The listeners of the index, packed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::domain::feed::FeedListener;

/// Separates texts; Postgres stores no text that contains it.
const SEPARATOR: char = '\0';
/// Separates the names of roles, which consist of letters.
const ROLE_SEPARATOR: char = ',';
/// The texts before the interests.
const TEXTS: usize = 7;

/// A listener with the values by which the feed is filtered and sorted.
#[derive(Clone, Debug, FromRow)]
pub struct IndexedListener {
    #[sqlx(flatten)]
    pub listener: FeedListener,
    /// The mean of the stars in hundredths, and zero before the first.
    pub rating_key: i64,
    /// 2 for a listener who is available, 1 for one who is busy or takes no calls, and 0 for one who is offline.
    pub availability: i64,
    /// The last sign of life in microseconds since 1970, and zero without one.
    pub last_seen_key: i64,
    /// The sex by which the filter finds the listener.
    pub sex_key: String,
    /// Interests as they are compared.
    pub interest_keys: Vec<String>,
    /// The language tag in lower case.
    pub language_tag: String,
    /// The user name in lower case.
    pub username_key: String,
}

/// A listener in the index. Texts share one allocation, and keys share theirs with the sets of the index.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub(super) struct PackedListener {
    /// Name, name in lower case, language, roles, bio, image, country, and interests.
    texts: Box<str>,
    pub(super) interest_keys: Box<[Arc<str>]>,
    pub(super) language_tag: Arc<str>,
    pub(super) sex_key: Arc<str>,
    sex: Arc<str>,
    pub(super) rating_key: i64,
    pub(super) last_seen_key: i64,
    call_count: i64,
    total_call_secs: i64,
    last_seen: Option<DateTime<Utc>>,
    rating_hundredths: Option<i32>,
    wait_time: Option<i32>,
    answer_percent: Option<i32>,
    pub(super) availability: i8,
    has_bio: bool,
    has_image: bool,
    has_country: bool,
    pub(super) is_online: bool,
    is_busy: bool,
    pub(super) is_verified: bool,
    accepting_calls: bool,
    pub(super) audio_enabled: bool,
    pub(super) video_enabled: bool,
}

/// The names of a listener that are also those of sets.
pub(super) struct SharedNames {
    pub(super) sex: Arc<str>,
    pub(super) sex_key: Arc<str>,
    pub(super) language_tag: Arc<str>,
    pub(super) interest_keys: Box<[Arc<str>]>,
}

impl PackedListener {
    pub(super) fn pack(row: &IndexedListener, names: SharedNames) -> Self {
        let listener = &row.listener;
        Self {
            texts: join_texts(row),
            interest_keys: names.interest_keys,
            language_tag: names.language_tag,
            sex_key: names.sex_key,
            sex: names.sex,
            rating_key: row.rating_key,
            last_seen_key: row.last_seen_key,
            call_count: listener.call_count,
            total_call_secs: listener.total_call_secs,
            last_seen: listener.last_seen,
            rating_hundredths: listener.rating_hundredths,
            wait_time: listener.wait_time,
            answer_percent: listener.answer_percent,
            availability: i8::try_from(row.availability).unwrap_or_default(),
            has_bio: listener.bio.is_some(),
            has_image: listener.profile_image_url.is_some(),
            has_country: listener.country.is_some(),
            is_online: listener.is_online,
            is_busy: listener.is_busy,
            is_verified: listener.is_verified,
            accepting_calls: listener.accepting_calls,
            audio_enabled: listener.audio_enabled,
            video_enabled: listener.video_enabled,
        }
    }

    /// Returns the listener as the feed shows them, on a page that is sorted by `sort_key`.
    pub(super) fn unpack(&self, user_id: i64, sort_key: i64) -> FeedListener {
        let mut texts = self.texts.split(SEPARATOR);
        let mut next = || texts.next().unwrap_or_default();
        let [username, _, language, roles, bio, image, country]: [&str; TEXTS] =
            std::array::from_fn(|_| next());
        FeedListener {
            user_id,
            username: username.to_owned(),
            sex: self.sex.as_ref().to_owned(),
            bio: self.has_bio.then(|| bio.to_owned()),
            interests: texts.map(str::to_owned).collect(),
            profile_image_url: self.has_image.then(|| image.to_owned()),
            preferred_language: language.to_owned(),
            country: self.has_country.then(|| country.to_owned()),
            rating_hundredths: self.rating_hundredths,
            roles: split_roles(roles),
            is_online: self.is_online,
            is_busy: self.is_busy,
            wait_time: self.wait_time,
            last_seen: self.last_seen,
            call_count: self.call_count,
            total_call_secs: self.total_call_secs,
            answer_percent: self.answer_percent,
            is_verified: self.is_verified,
            accepting_calls: self.accepting_calls,
            audio_enabled: self.audio_enabled,
            video_enabled: self.video_enabled,
            sort_key,
        }
    }

    pub(super) fn username_key(&self) -> &str {
        let mut texts = self.texts.split(SEPARATOR);
        texts.nth(1).unwrap_or_default()
    }
}

fn join_texts(row: &IndexedListener) -> Box<str> {
    let listener = &row.listener;
    let roles = listener.roles.join(&ROLE_SEPARATOR.to_string());
    let texts: [&str; TEXTS] = [
        &listener.username,
        &row.username_key,
        &listener.preferred_language,
        &roles,
        listener.bio.as_deref().unwrap_or_default(),
        listener.profile_image_url.as_deref().unwrap_or_default(),
        listener.country.as_deref().unwrap_or_default(),
    ];
    let mut joined = texts.join(&SEPARATOR.to_string());
    for interest in &listener.interests {
        joined.push(SEPARATOR);
        joined.push_str(interest);
    }
    joined.into_boxed_str()
}

fn split_roles(roles: &str) -> Vec<String> {
    let roles = roles.split(ROLE_SEPARATOR).filter(|role| !role.is_empty());
    roles.map(str::to_owned).collect()
}
