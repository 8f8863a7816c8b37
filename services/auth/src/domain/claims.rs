//! Claims of tokens (contract, section 2).

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use talktime_proto::auth::{TOKEN_AUDIENCE, TOKEN_ISSUER};
use uuid::Uuid;

/// The claims of a token of any type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenClaims {
    /// The issuer.
    pub iss: Cow<'static, str>,
    /// The audience.
    pub aud: Cow<'static, str>,
    /// The token's identity.
    pub jti: Uuid,
    /// Issued at, unix seconds.
    pub iat: i64,
    /// Expires at, unix seconds.
    pub exp: i64,
    /// The login of the session, unix seconds, as in OIDC: when the user last proved to have the
    /// phone. Missing in registration tokens, and in tokens from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The permission that the token grants.
    #[serde(flatten)]
    pub grant: TokenGrant,
}

/// The permission that a token grants, by its `type`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TokenGrant {
    /// Requests of a user.
    Access(UserSession),
    /// One new pair of tokens for a session.
    Refresh(UserSession),
    /// The registration of a verified phone.
    Registration {
        /// E.164.
        phone: String,
    },
}

/// A login that lives on through refreshes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UserSession {
    pub user_id: i64,
    /// The session's identity: the same in every pair of its tokens.
    #[serde(rename = "sid")]
    pub session_id: Uuid,
}

/// Lifetimes of tokens.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct TokenLifetimes {
    /// Access tokens.
    pub access_secs: u32,
    /// Refresh tokens.
    pub refresh_secs: u32,
    /// Registration tokens.
    pub registration_secs: u32,
    /// Sessions, from their login on. No token of a session outlives it, however often it is refreshed.
    pub session_secs: u32,
}

impl Default for TokenLifetimes {
    fn default() -> Self {
        Self {
            access_secs: 30 * 60,
            refresh_secs: 30 * 24 * 60 * 60,
            registration_secs: 10 * 60,
            session_secs: 90 * 24 * 60 * 60,
        }
    }
}

impl TokenLifetimes {
    /// Lifetime of an access token.
    pub fn access(&self) -> TimeDelta {
        seconds(self.access_secs)
    }

    /// Lifetime of a registration token.
    pub fn registration(&self) -> TimeDelta {
        seconds(self.registration_secs)
    }

    /// Lifetime of the longest-lived token.
    pub fn longest(&self) -> TimeDelta {
        let longest = self.access_secs.max(self.refresh_secs);
        seconds(longest.max(self.registration_secs))
    }

    /// The end of a session whose login was then.
    pub fn session_end(&self, auth_time: i64) -> i64 {
        auth_time.saturating_add(self.session_secs.into())
    }

    /// Lifetime of a token with this grant.
    pub fn for_grant(&self, grant: &TokenGrant) -> TimeDelta {
        match grant {
            TokenGrant::Access(_) => self.access(),
            TokenGrant::Refresh(_) => seconds(self.refresh_secs),
            TokenGrant::Registration { .. } => self.registration(),
        }
    }
}

fn seconds(count: u32) -> TimeDelta {
    TimeDelta::seconds(i64::from(count))
}

impl TokenClaims {
    /// The claims of a new token.
    pub fn new(
        jti: Uuid,
        now: DateTime<Utc>,
        lifetimes: &TokenLifetimes,
        grant: TokenGrant,
    ) -> Self {
        Self {
            iss: TOKEN_ISSUER.into(),
            aud: TOKEN_AUDIENCE.into(),
            jti,
            iat: now.timestamp(),
            exp: (now + lifetimes.for_grant(&grant)).timestamp(),
            auth_time: None,
            grant,
        }
    }

    /// The claims of a token of a session whose login was at `auth_time`, in unix seconds.
    #[must_use]
    pub fn with_login(self, auth_time: i64, lifetimes: &TokenLifetimes) -> Self {
        Self {
            exp: self.exp.min(lifetimes.session_end(auth_time)),
            auth_time: Some(auth_time),
            ..self
        }
    }

    /// Whether the token's time is over (RFC 7519, 4.1.4: "on or after").
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() >= self.exp
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000, 999_000_000).expect("valid")
    }

    fn claims(grant: TokenGrant) -> TokenClaims {
        TokenClaims::new(Uuid::from_u128(7), now(), &TokenLifetimes::default(), grant)
    }

    const SESSION: UserSession = UserSession {
        user_id: 42,
        session_id: Uuid::from_u128(9),
    };

    #[test]
    fn an_access_token_has_the_claims_of_the_contract() {
        assert_eq!(
            serde_json::to_value(claims(TokenGrant::Access(SESSION))).expect("json"),
            json!({
                "iss": "talktime",
                "aud": "talktime",
                "type": "access",
                "jti": "00000000-0000-0000-0000-000000000007",
                "iat": 1_750_000_000,
                "exp": 1_750_001_800,
                "user_id": 42,
                "sid": "00000000-0000-0000-0000-000000000009",
            })
        );
    }

    #[test]
    fn a_token_of_a_session_ends_with_it() {
        let lifetimes = TokenLifetimes::default();
        let login = now().timestamp() - i64::from(lifetimes.session_secs);
        let refreshed_at =
            |login| claims(TokenGrant::Refresh(SESSION)).with_login(login, &lifetimes);
        let last = refreshed_at(login + 600);
        assert_eq!(last.auth_time, Some(login + 600));
        assert_eq!(last.exp, now().timestamp() + 600);
        let early = refreshed_at(now().timestamp());
        assert_eq!(early.exp, claims(TokenGrant::Refresh(SESSION)).exp);
        assert!(refreshed_at(login).is_expired(now()));
    }

    #[test]
    fn a_registration_token_names_a_phone_and_no_user() {
        let phone = "+919812345678".to_owned();
        let claims =
            serde_json::to_value(claims(TokenGrant::Registration { phone })).expect("json");
        assert_eq!(claims["type"], "registration");
        assert_eq!(claims["phone"], "+919812345678");
        assert_eq!(claims["exp"], 1_750_000_600);
        assert_eq!(claims.get("user_id"), None);
    }

    #[test]
    fn claims_survive_their_round_trip() {
        let refresh = claims(TokenGrant::Refresh(SESSION));
        let json = serde_json::to_string(&refresh).expect("json");
        assert_eq!(
            serde_json::from_str::<TokenClaims>(&json).expect("claims"),
            refresh
        );
    }

    #[test]
    fn a_token_of_an_unknown_type_is_refused() {
        let mut json = serde_json::to_value(claims(TokenGrant::Access(SESSION))).expect("json");
        json["type"] = "root".into();
        assert!(serde_json::from_value::<TokenClaims>(json).is_err());
    }

    #[test]
    fn a_token_expires_at_its_exp() {
        let claims = claims(TokenGrant::Access(SESSION));
        let expires_at = DateTime::from_timestamp(claims.exp, 0).expect("valid");
        assert!(!claims.is_expired(expires_at - TimeDelta::microseconds(1)));
        assert!(claims.is_expired(expires_at));
    }
}
