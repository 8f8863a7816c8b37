//! Sessions and their refresh tokens, and which access tokens are revoked; each step atomic.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::redis::commands::KeysInterface as _;
use talktime_kit::redis::{Pool, Script};
use talktime_proto::auth::{ended_session_key, revoked_before_key, revoked_token_key};
use uuid::Uuid;

use super::keys;
use crate::domain::claims::UserSession;
use crate::domain::{AuthError, DeviceName, TokenRevocation};

static OPEN: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/sessions.lua"),
        include_str!("scripts/session_open.lua")
    ))
});
static ROTATE: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/sessions.lua"),
        include_str!("scripts/session_rotate.lua")
    ))
});
static REVOKE: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/sessions.lua"),
        include_str!("scripts/session_revoke.lua")
    ))
});

static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/sessions.lua"),
        include_str!("scripts/session_list.lua")
    ))
});
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/sessions.lua"),
        include_str!("scripts/session_end.lua")
    ))
});
static END_ALL: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/sessions.lua"),
        include_str!("scripts/session_end_all.lua")
    ))
});

static SCAN: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/session_scan.lua")));
static DELETE_EVERYTHING: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/delete_everything.lua")));

/// Keys that one step of a scan looks at, about.
const SCANNED_KEYS: u32 = 1_000;

/// The ids and the instant that a pair of tokens is signed from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenIdPair {
    /// The refresh token's id.
    pub refresh_jti: Uuid,
    /// The access token's id.
    pub access_jti: Uuid,
    /// The instant of issue, stored to the microsecond.
    pub issued_at: DateTime<Utc>,
}

/// The result of using a refresh token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenRotationOutcome {
    /// It is used up, and the next one is stored.
    Rotated,
    /// It was used a moment ago, and nobody has used the new pair, which is returned once more.
    Repeated(TokenIdPair),
    /// It was used before, so every session of its user has ended.
    Reused {
        /// Their ids.
        ended: Vec<String>,
    },
    /// Its session had ended before.
    Unknown,
}

/// Opens a session with its first refresh token.
pub async fn open(
    redis: &Pool,
    session: UserSession,
    jti: Uuid,
    lifetime_secs: u32,
    device: &DeviceName,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    let arguments = vec![
        session.session_id.to_string(),
        jti.to_string(),
        lifetime_secs.to_string(),
        device.to_string(),
        now.timestamp_micros().to_string(),
    ];
    Ok(OPEN
        .evalsha_with_reload(redis.next(), keys::sessions(session.user_id), arguments)
        .await?)
}

/// Uses a refresh token up and stores the next one of its session. If several requests have the same token at the
/// same time, one rotates it and the others are reuses; but within `grace_secs`, one of them gets the same pair
/// once more.
pub async fn rotate(
    redis: &Pool,
    session: UserSession,
    used_jti: Uuid,
    next: TokenIdPair,
    lifetime_secs: u32,
    grace_secs: u32,
) -> Result<TokenRotationOutcome, AuthError> {
    let arguments = vec![
        session.session_id.to_string(),
        used_jti.to_string(),
        next.refresh_jti.to_string(),
        lifetime_secs.to_string(),
        next.issued_at.timestamp_micros().to_string(),
        next.access_jti.to_string(),
        grace_secs.to_string(),
    ];
    let outcome: Vec<String> = ROTATE
        .evalsha_with_reload(redis.next(), keys::sessions(session.user_id), arguments)
        .await?;
    let texts: Vec<&str> = outcome.iter().map(String::as_str).collect();
    match texts.as_slice() {
        ["rotated"] => Ok(TokenRotationOutcome::Rotated),
        ["reused", ended @ ..] => Ok(TokenRotationOutcome::Reused {
            ended: ended.iter().map(ToString::to_string).collect(),
        }),
        ["unknown"] => Ok(TokenRotationOutcome::Unknown),
        ["again", refresh_jti, access_jti, issued_at] => {
            let pair = parse_stored_pair(refresh_jti, access_jti, issued_at);
            let pair = pair.ok_or_else(|| Error::internal("a kept answer is not one"))?;
            Ok(TokenRotationOutcome::Repeated(pair))
        }
        other => Err(Error::internal(format!("a script answered {other:?}")).into()),
    }
}

fn parse_stored_pair(refresh_jti: &str, access_jti: &str, issued_at: &str) -> Option<TokenIdPair> {
    Some(TokenIdPair {
        refresh_jti: refresh_jti.parse().ok()?,
        access_jti: access_jti.parse().ok()?,
        issued_at: DateTime::from_timestamp_micros(issued_at.parse().ok()?)?,
    })
}

/// A session as its user sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenSession {
    /// Its identity, the `sid` of its tokens.
    pub session_id: String,
    /// The device that logged in.
    pub device: String,
    /// The login; `None` for a session from before this was kept.
    pub created_at: Option<DateTime<Utc>>,
    /// The login or the latest refresh.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The sessions of a user that can still be refreshed, last used first.
pub async fn list(redis: &Pool, user_id: i64) -> Result<Vec<OpenSession>, AuthError> {
    let texts: Vec<String> = LIST
        .evalsha_with_reload(redis.next(), keys::sessions(user_id), Vec::<String>::new())
        .await?;
    let time = |micros: &String| {
        let micros = micros.parse().ok();
        micros.and_then(DateTime::from_timestamp_micros)
    };
    let (four_each, _) = texts.as_chunks::<4>();
    let mut sessions: Vec<OpenSession> = four_each
        .iter()
        .map(
            |[session_id, device, created_at, last_used_at]| OpenSession {
                session_id: session_id.clone(),
                device: device.clone(),
                created_at: time(created_at),
                last_used_at: time(last_used_at),
            },
        )
        .collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.last_used_at));
    Ok(sessions)
}

/// Ends one session and revokes its access tokens, which are valid for `lifetime_secs` at most. A session that
/// has ended stays ended.
pub async fn end(redis: &Pool, session: UserSession, lifetime_secs: u32) -> Result<(), AuthError> {
    run_end_script(redis, &END, session, lifetime_secs).await
}

/// Ends this session and all others of its user, and revokes their access tokens.
pub async fn end_all(
    redis: &Pool,
    session: UserSession,
    lifetime_secs: u32,
) -> Result<(), AuthError> {
    run_end_script(redis, &END_ALL, session, lifetime_secs).await
}

async fn run_end_script(
    redis: &Pool,
    script: &Script,
    session: UserSession,
    lifetime_secs: u32,
) -> Result<(), AuthError> {
    let UserSession {
        user_id,
        session_id,
    } = session;
    let keys = vec![
        keys::sessions(user_id),
        ended_session_key(user_id, &session_id.to_string()),
    ];
    let arguments = vec![session_id.to_string(), lifetime_secs.to_string()];
    Ok(script
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?)
}

/// Whether a refresh token can still be used: its session is open, and it is the latest token of
/// the session.
pub async fn is_usable(redis: &Pool, user_id: i64, refresh_jti: Uuid) -> Result<bool, AuthError> {
    let key = keys::refresh_token(user_id, refresh_jti);
    Ok(redis.exists(key).await?)
}

/// Ends all sessions of a user, and revokes the access tokens of a revocation, of which gateways learn
/// here while auth does not answer them.
pub async fn revoke(
    redis: &Pool,
    revocation: &TokenRevocation,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    let user_id = revocation.user_id;
    let tokens = revocation.token_ids.iter();
    let tokens = tokens.map(|jti| revoked_token_key(user_id, jti));
    let sessions = revocation.session_ids.iter();
    let sessions = sessions.map(|session_id| ended_session_key(user_id, session_id));
    let marks = tokens.chain(sessions).map(|key| (key, "1".to_owned()));
    let user = revocation.issued_until.map(|until| {
        let key = revoked_before_key(user_id);
        (key, until.timestamp().to_string())
    });
    // Redis knows no lifetime of zero; an expired token is revoked for a second more.
    let lifetime = revocation.expires_at - now;
    let mut keys = vec![keys::sessions(user_id)];
    let mut arguments = vec![lifetime.num_seconds().max(1).to_string()];
    for (key, value) in marks.chain(user) {
        keys.push(key);
        arguments.push(value);
    }
    Ok(REVOKE
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?)
}

/// A session of any user, as Redis stores it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSession {
    pub user_id: i64,
    pub session_id: String,
    /// The login; `None` for a session from before this was kept.
    pub created_at: Option<DateTime<Utc>>,
}

/// Some of all sessions.
#[derive(Clone, Debug)]
pub struct SessionScan {
    /// The place of the next step; `0` at the end.
    pub cursor: String,
    pub sessions: Vec<StoredSession>,
}

/// Reads some of the sessions of all users, from `cursor` on, which is `0` at first. A session may appear twice.
pub async fn scan_all(redis: &Pool, cursor: &str) -> Result<SessionScan, AuthError> {
    let arguments = vec![cursor.to_owned(), SCANNED_KEYS.to_string()];
    let page: Vec<String> = SCAN
        .evalsha_with_reload(redis.next(), keys::ALL_SESSION_DETAILS, arguments)
        .await?;
    let [cursor, rest @ ..] = page.as_slice() else {
        return Err(Error::internal("a scan answered no cursor").into());
    };
    let (pairs, _) = rest.as_chunks::<2>();
    let sessions = pairs.iter().filter_map(|[key, created_at]| {
        let (user_id, session_id) = keys::read_session_details(key)?;
        let micros = created_at.parse().ok();
        Some(StoredSession {
            user_id,
            session_id,
            created_at: micros.and_then(DateTime::from_timestamp_micros),
        })
    });
    Ok(SessionScan {
        cursor: cursor.clone(),
        sessions: sessions.collect(),
    })
}

/// Deletes all sessions, and everything else that Redis holds for the platform: one-time passwords and counters.
pub async fn delete_everything(redis: &Pool) -> Result<(), AuthError> {
    Ok(DELETE_EVERYTHING
        .evalsha_with_reload(redis.next(), Vec::<String>::new(), Vec::<String>::new())
        .await?)
}
