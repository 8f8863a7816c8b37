//! The listeners of the index, packed.

use chrono::DateTime;
use sqlx::FromRow;

use crate::domain::feed::FeedListener;

/// Separates texts; Postgres stores no text that contains it.
const SEPARATOR: char = '\0';
/// Separates the names of roles, which consist of letters.
const ROLE_SEPARATOR: char = ',';

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

/// A listener in the index. All texts share one allocation, since most of them are shorter than the pointer that a text of
/// its own needs.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the row")]
pub(super) struct PackedListener {
    /// The fields of [`ListenerTexts`] in their order, after the number of interests.
    texts: Box<str>,
    pub(super) last_seen_key: i64,
    call_count: i64,
    total_call_secs: i64,
    pub(super) rating_key: i32,
    rating_hundredths: Option<i32>,
    wait_time: Option<i32>,
    answer_percent: Option<i32>,
    pub(super) availability: i8,
    has_bio: bool,
    has_image: bool,
    has_country: bool,
    has_last_seen: bool,
    pub(super) is_online: bool,
    is_busy: bool,
    pub(super) is_verified: bool,
    accepting_calls: bool,
    pub(super) audio_enabled: bool,
    pub(super) video_enabled: bool,
}

/// The texts that a page shows, and the keys by which filters find a listener. Texts that are absent are empty here.
pub(super) struct ListenerTexts<'a> {
    username: &'a str,
    sex: &'a str,
    language: &'a str,
    roles: &'a str,
    bio: &'a str,
    image: &'a str,
    country: &'a str,
    pub(super) username_key: &'a str,
    pub(super) sex_key: &'a str,
    pub(super) language_tag: &'a str,
    interests: Vec<&'a str>,
    pub(super) interest_keys: Vec<&'a str>,
}

impl PackedListener {
    pub(super) fn pack(row: &IndexedListener) -> Self {
        let listener = &row.listener;
        Self {
            texts: join_texts(row),
            last_seen_key: row.last_seen_key,
            call_count: listener.call_count,
            total_call_secs: listener.total_call_secs,
            rating_key: i32::try_from(row.rating_key).unwrap_or_default(),
            rating_hundredths: listener.rating_hundredths,
            wait_time: listener.wait_time,
            answer_percent: listener.answer_percent,
            availability: i8::try_from(row.availability).unwrap_or_default(),
            has_bio: listener.bio.is_some(),
            has_image: listener.profile_image_url.is_some(),
            has_country: listener.country.is_some(),
            has_last_seen: listener.last_seen.is_some(),
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
        let texts = self.texts();
        let last_seen = DateTime::from_timestamp_micros(self.last_seen_key);
        FeedListener {
            user_id,
            username: texts.username.to_owned(),
            sex: texts.sex.to_owned(),
            bio: self.has_bio.then(|| texts.bio.to_owned()),
            interests: texts.interests.into_iter().map(str::to_owned).collect(),
            profile_image_url: self.has_image.then(|| texts.image.to_owned()),
            preferred_language: texts.language.to_owned(),
            country: self.has_country.then(|| texts.country.to_owned()),
            rating_hundredths: self.rating_hundredths,
            roles: split_roles(texts.roles),
            is_online: self.is_online,
            is_busy: self.is_busy,
            wait_time: self.wait_time,
            last_seen: last_seen.filter(|_| self.has_last_seen),
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

    pub(super) fn texts(&self) -> ListenerTexts<'_> {
        let mut texts = self.texts.split(SEPARATOR);
        let mut next = || texts.next().unwrap_or_default();
        let interests_len: usize = next().parse().unwrap_or_default();
        ListenerTexts {
            username: next(),
            sex: next(),
            language: next(),
            roles: next(),
            bio: next(),
            image: next(),
            country: next(),
            username_key: next(),
            sex_key: next(),
            language_tag: next(),
            interests: texts.by_ref().take(interests_len).collect(),
            interest_keys: texts.collect(),
        }
    }
}

fn join_texts(row: &IndexedListener) -> Box<str> {
    let listener = &row.listener;
    let roles = listener.roles.join(&ROLE_SEPARATOR.to_string());
    let texts: [&str; 10] = [
        &listener.username,
        &listener.sex,
        &listener.preferred_language,
        &roles,
        listener.bio.as_deref().unwrap_or_default(),
        listener.profile_image_url.as_deref().unwrap_or_default(),
        listener.country.as_deref().unwrap_or_default(),
        &row.username_key,
        &row.sex_key,
        &row.language_tag,
    ];
    let interests = listener.interests.iter().chain(&row.interest_keys);
    let texts = texts.into_iter().chain(interests.map(String::as_str));
    let mut joined = listener.interests.len().to_string();
    for text in texts {
        joined.push(SEPARATOR);
        joined.push_str(text);
    }
    joined.into_boxed_str()
}

fn split_roles(roles: &str) -> Vec<String> {
    let roles = roles.split(ROLE_SEPARATOR).filter(|role| !role.is_empty());
    roles.map(str::to_owned).collect()
}
