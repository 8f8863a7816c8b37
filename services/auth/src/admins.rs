//! Decides whether somebody may act as an admin. Services ask before each method that acts for one, so that neither the gateway nor a token
//! from before suffices.

use std::sync::Arc;

use talktime_kit::db::DatabasePool;
use talktime_kit::tokens::invalid_token;
use talktime_kit::{Clock, text};
use talktime_proto::auth::v1::AuthorizeAdminRequest;

use crate::audit::AuditRefusalRecorder;
use crate::domain::AuthError;
use crate::domain::claims::{TokenGrant, UserSession};
use crate::peers::ProfileClient;
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::revocations;
use crate::tokens::TokenIssuer;

/// Characters of a method, an address and a reason that an entry keeps, as the table allows.
const METHOD_CHARS_MAX: usize = 200;
const ADDRESS_CHARS_MAX: usize = 45;
const REASON_CHARS_MAX: usize = 200;

/// Confirms that users may act as admins.
pub struct AdminAuthorizer {
    /// The connections of the service.
    pub db: DatabasePool,
    /// Checks tokens.
    pub issuer: Arc<TokenIssuer>,
    /// Knows the roles of users.
    pub profile: ProfileClient,
    /// Records who was refused.
    pub refusals: AuditRefusalRecorder,
    /// Whether each request must give a reason.
    pub requires_reason: bool,
    /// The clock by which tokens end.
    pub clock: Clock,
}

impl AdminAuthorizer {
    /// Admits a request if the user of its token is an admin at this moment. It is in the audit log before it is admitted:
    /// what cannot be recorded does not happen.
    pub async fn authorize(&self, request: &AuthorizeAdminRequest) -> Result<(), AuthError> {
        let session = self.check_token(&request.access_token).await?;
        if !self.profile.is_admin(session.user_id).await? {
            self.refusals
                .record(self.entry_of(AuditAction::AdminRefused, session, request));
            return Err(AuthError::NotAdmin);
        }
        if self.requires_reason && request.reason.trim().is_empty() {
            return Err(AuthError::AuditReasonRequired);
        }
        let mut tx = self.db.begin().await?;
        let entry = self.entry_of(AuditAction::AdminActed, session, request);
        audit_log::record(&mut tx, entry).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns the session of an access token that is neither expired nor revoked.
    async fn check_token(&self, access_token: &str) -> Result<UserSession, AuthError> {
        let claims = self.issuer.check_token(access_token, self.clock.now())?;
        let claims = claims.ok_or_else(invalid_token)?;
        let TokenGrant::Access(session) = claims.grant else {
            return Err(invalid_token().into());
        };
        let mut connection = self.db.acquire().await?;
        if revocations::covers(&mut connection, session, &claims).await? {
            return Err(AuthError::AccessTokenRevoked);
        }
        Ok(session)
    }

    fn entry_of(
        &self,
        action: AuditAction,
        session: UserSession,
        request: &AuthorizeAdminRequest,
    ) -> AuditLogEntry {
        let line = |text: &str, chars_max| {
            let line = text::visible_line(text, chars_max);
            Some(line).filter(|line| !line.is_empty())
        };
        let address = line(&request.client_address, ADDRESS_CHARS_MAX);
        let reason = line(&request.reason, REASON_CHARS_MAX);
        AuditLogEntry::new(action, self.clock.now())
            .with_session(session)
            .with_detail(text::visible_line(&request.method, METHOD_CHARS_MAX))
            .with_origin(address, reason)
    }
}
