//! Who may act as an admin. Services ask before each method that acts for one, so that neither the gateway nor a token
//! from before suffices.

use std::sync::Arc;

use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;

use crate::domain::AuthError;
use crate::domain::claims::{TokenClaims, TokenGrant, UserSession};
use crate::peers::ProfileClient;
use crate::store::revocations;
use crate::tokens::TokenIssuer;

/// Confirms that users may act as admins.
pub struct AdminAuthorizer {
    /// The connections of the service.
    pub db: DatabasePool,
    /// Checks tokens.
    pub issuer: Arc<TokenIssuer>,
    /// Knows the roles of users.
    pub profile: ProfileClient,
    /// The clock by which tokens end.
    pub clock: Clock,
}

impl AdminAuthorizer {
    /// Returns the session of an access token, if its user is an admin at this moment.
    pub async fn authorize(&self, access_token: &str) -> Result<UserSession, AuthError> {
        let claims = self.issuer.check_token(access_token, self.clock.now())?;
        let claims = claims.ok_or(AuthError::InvalidAccessToken)?;
        let TokenGrant::Access(session) = claims.grant else {
            return Err(AuthError::InvalidAccessToken);
        };
        if self.is_revoked(session, &claims).await? {
            return Err(AuthError::AccessTokenRevoked);
        }
        if self.profile.is_admin(session.user_id).await? {
            Ok(session)
        } else {
            Err(AuthError::NotAdmin)
        }
    }

    async fn is_revoked(
        &self,
        session: UserSession,
        claims: &TokenClaims,
    ) -> Result<bool, AuthError> {
        let mut connection = self.db.acquire().await?;
        let is_revoked = revocations::covers(&mut connection, session, claims).await?;
        Ok(is_revoked)
    }
}
