//! Tickets, each of which opens one socket soon after it was issued. A browser cannot set the header of a socket, and an
//! address ends up in logs of proxies, where a ticket is worth nothing and a token is.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::{Expiration, KeysInterface};
use talktime_kit::sealing::{SealingError, SealingKey};
use talktime_kit::tokens::UserToken;
use talktime_kit::{Clock, Error, ErrorKind};
use uuid::Uuid;

use crate::token::CurrentUser;

/// The seconds for which a ticket is valid.
pub const TICKET_LIFETIME_SECS: u32 = 30;
/// Distinguishes the key of a ticket from the hash under which it is stored.
const OWNER: &str = "socket ticket";

/// Issues and redeems tickets, which all replicas share in Redis; cheap to clone.
#[derive(Clone)]
pub struct SocketTickets {
    redis: Pool,
    clock: Clock,
}

/// The claims of the access token that a ticket was issued for, as Redis stores them.
#[derive(Deserialize, Serialize)]
struct StoredTicket {
    user_id: i64,
    /// The token itself, which only the ticket opens, in hexadecimal. Replicas from before it was kept stored none; their
    /// tickets are not accepted any more.
    #[serde(default)]
    sealed_token: String,
    token_id: String,
    session_id: String,
    issued_at: i64,
    /// In seconds since 1970.
    expires_at: i64,
    auth_time: Option<i64>,
}

impl SocketTickets {
    /// Creates an issuer of tickets that are stored in this Redis.
    pub fn new(redis: Pool, clock: Clock) -> Self {
        Self { redis, clock }
    }

    /// Issues a ticket for a user, with the rights and the end of their access token.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn issue(&self, current_user: &CurrentUser) -> Result<String, Error> {
        let ticket = Uuid::new_v4().simple().to_string();
        let token = current_user.token.as_str().as_bytes();
        let sealed = sealing_key(&ticket).and_then(|key| key.seal(OWNER, token));
        let stored = StoredTicket {
            user_id: current_user.user_id,
            sealed_token: hex::encode(sealed.map_err(Error::internal)?),
            token_id: current_user.token_id.clone(),
            session_id: current_user.session_id.clone(),
            issued_at: current_user.issued_at,
            expires_at: current_user.expires_at.timestamp(),
            auth_time: current_user.auth_time,
        };
        let stored = serde_json::to_string(&stored).map_err(Error::internal)?;
        let expires = Some(Expiration::EX(TICKET_LIFETIME_SECS.into()));
        let () = self
            .redis
            .set(key(&ticket), stored, expires, None, false)
            .await?;
        Ok(ticket)
    }

    /// Uses up a ticket and returns its user, whose token may have been revoked since.
    ///
    /// # Errors
    /// The ticket is unknown, used or expired, or its token has expired, or Redis is unavailable.
    pub(super) async fn redeem(&self, ticket: &str) -> Result<CurrentUser, Error> {
        let stored: Option<String> = self.redis.getdel(key(ticket)).await?;
        let stored: StoredTicket = stored
            .and_then(|stored| serde_json::from_str(&stored).ok())
            .ok_or_else(invalid_ticket)?;
        let expires_at = DateTime::from_timestamp(stored.expires_at, 0);
        let expires_at = expires_at.filter(|expires_at| *expires_at > self.clock.now());
        let token = open_token(ticket, &stored.sealed_token);
        Ok(CurrentUser {
            user_id: stored.user_id,
            token: token.ok_or_else(invalid_ticket)?,
            token_id: stored.token_id,
            session_id: stored.session_id,
            issued_at: stored.issued_at,
            expires_at: expires_at.ok_or_else(invalid_ticket)?,
            auth_time: stored.auth_time,
        })
    }
}

/// Returns the key that seals the token of a ticket. It follows from the ticket, which Redis does not have.
fn sealing_key(ticket: &str) -> Result<SealingKey, SealingError> {
    let digest = Sha256::new_with_prefix(OWNER).chain_update(ticket);
    SealingKey::from_hex(&hex::encode(digest.finalize()).into())
}

fn open_token(ticket: &str, sealed: &str) -> Option<UserToken> {
    let sealed = hex::decode(sealed).ok()?;
    let token = sealing_key(ticket).ok()?.open(OWNER, &sealed).ok()?;
    Some(UserToken::new(std::str::from_utf8(&token).ok()?))
}

/// Only a hash is stored, so that a copy of Redis opens no sockets.
fn key(ticket: &str) -> String {
    format!("ws:ticket:{}", hex::encode(Sha256::digest(ticket)))
}

fn invalid_ticket() -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        "invalid_ticket",
        "The ticket is invalid, used or expired.",
    )
}
