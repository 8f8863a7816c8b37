//! Ends every login after Postgres was restored to a moment of the past.
//!
//! Sessions and tokens from after that moment may belong to users who do not exist any more, and tokens of an
//! access that was revoked meanwhile would be valid again. So all sessions end and all signing keys are replaced.
//! Auth is the last of the services, and empties the stream of events when the others have read it.

use std::time::Duration;

use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{self, DatabasePool};
use talktime_kit::deadlines::{PeerKind, await_answer};
use talktime_kit::redis::commands::ClientLike as _;
use talktime_kit::redis::{self, Pool};
use talktime_kit::{failpoint, restored};

use crate::SCHEMA;
use crate::config::AuthConfig;
use crate::rotation::SigningKeyRotation;
use crate::store::audit_log;
use crate::store::sessions::{self, StoredSession};

/// How long Redis may take to accept the connection of this command.
const REDIS_READY: Duration = Duration::from_secs(10);
/// Pages of sessions that are read at most, each of about a hundred sessions.
const PAGES_MAX: usize = 1_000_000;

/// Makes auth safe and prints the sessions whose logins were lost.
///
/// # Errors
/// A process still runs, or a store does not answer in time.
pub async fn make_safe(service: &ServiceConfig, config: &AuthConfig) -> anyhow::Result<()> {
    restored::make_safe(SCHEMA, service).await?;
    let db = db::pool(SCHEMA, &service.database)?;
    let redis = redis::connect(&config.redis)?;
    await_answer(PeerKind::Redis, REDIS_READY, redis.wait_for_connect()).await??;
    print_lost_sessions(&db, &redis).await?;
    failpoint::reach("auth.restored.listed");
    sessions::delete_everything(&redis).await?;
    println!("all sessions, one-time passwords and counters in Redis are deleted");
    failpoint::reach("auth.restored.sessions_ended");
    let key_id = SigningKeyRotation::new(db, &config.tokens)?
        .replace_all_keys()
        .await?;
    println!("key {key_id} signs, and tokens of all other keys are refused");
    failpoint::reach("auth.restored.keys_replaced");
    restored::replace_stream(service).await
}

/// Prints each session whose login the audit log does not contain.
async fn print_lost_sessions(db: &DatabasePool, redis: &Pool) -> anyhow::Result<()> {
    let mut cursor = String::from("0");
    let mut lost = 0_usize;
    for _ in 0..PAGES_MAX {
        let page = sessions::scan_all(redis, &cursor).await?;
        for StoredSession {
            user_id,
            session_id,
            created_at,
        } in find_lost(db, page.sessions).await?
        {
            lost += 1;
            let created_at = created_at.map_or_else(String::new, |at| at.to_rfc3339());
            println!("lost: {created_at} login of user {user_id} (session {session_id})");
        }
        cursor = page.cursor;
        if cursor == "0" {
            break;
        }
    }
    println!("auth: {lost} logins of open sessions were lost");
    Ok(())
}

async fn find_lost(
    db: &DatabasePool,
    sessions: Vec<StoredSession>,
) -> anyhow::Result<Vec<StoredSession>> {
    let ids: Vec<(i64, &str)> = sessions
        .iter()
        .map(|session| (session.user_id, session.session_id.as_str()))
        .collect();
    let known = audit_log::find_logins(&mut *db.acquire().await?, &ids).await?;
    let is_lost = |session: &StoredSession| !known.contains(&session.session_id);
    Ok(sessions.into_iter().filter(is_lost).collect())
}
