//! Sessions: a login opens them, refreshes extend them and a logout ends them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use talktime_kit::redis::Pool;
use talktime_kit::{Clock, failpoint};
use talktime_proto::auth::REVOCATIONS_HOLD;
use uuid::Uuid;

use crate::audit::AuditRefusalRecorder;
use crate::domain::claims::{TokenClaims, TokenGrant, UserSession};
use crate::domain::{AuthError, DeviceName, LoginProof, TokenRevocation, UserAccount};
use crate::events::SessionEventRecorder;
use crate::login_batch::{LoginRecordOutcome, NewLoginRecord};
use crate::peers::PresenceClient;
use crate::store;
use crate::store::audit_log::{AuditAction, AuditLogEntry};
use crate::store::registrations::UsedRegistrationToken;
pub use crate::store::revocations::TokenRevocationPage;
pub use crate::store::sessions::OpenSession;
use crate::store::sessions::{TokenIdPair, TokenRotationOutcome};
use crate::tokens::TokenIssuer;

/// Operations on sessions.
#[derive(Clone)]
pub struct SessionService {
    /// The Redis that stores sessions.
    pub redis: Pool,
    pub issuer: Arc<TokenIssuer>,
    /// The recorder of logins, logouts and revocations.
    pub recorder: SessionEventRecorder,
    /// The recorder of refusals for the audit log.
    pub refusals: AuditRefusalRecorder,
    /// The presence service, which is notified of logins and logouts at once.
    pub presence: PresenceClient,
    pub clock: Clock,
    /// Seconds in which a used refresh token may return the same pair once more.
    pub refresh_grace_secs: u32,
}

/// A session's pair of tokens, signed. Has no debug output, since whoever reads one has the session.
pub struct SessionTokens {
    /// The access token, for requests.
    pub access: String,
    /// The refresh token, for the next pair.
    pub refresh: String,
}

impl SessionService {
    /// Opens a session for a user who has just authenticated, and reports them online; `None` if the proof
    /// was used before.
    ///
    /// The session is stored before the login is recorded (see [`crate::login_records`]). One that could
    /// not be recorded is ended again, since nobody gets its tokens.
    pub async fn open_session(
        &self,
        account: UserAccount,
        device: &DeviceName,
        proof: LoginProof,
    ) -> Result<Option<SessionTokens>, AuthError> {
        let now = self.clock.now();
        let session = UserSession {
            user_id: account.user_id,
            session_id: Uuid::new_v4(),
        };
        let pair = new_token_ids(now);
        let tokens = self.issue_tokens(session, pair, now.timestamp())?;
        let lifetime_secs = self.issuer.lifetimes().refresh_secs;
        store::sessions::open(
            &self.redis,
            session,
            pair.refresh_jti,
            lifetime_secs,
            device,
            now,
        )
        .await?;
        // A registration that may have been recorded is answered with its first session when it is repeated.
        let may_be_repeated = matches!(proof, LoginProof::Registration { .. });
        let login = NewLoginRecord {
            session,
            pair,
            username: account.username.clone(),
            proof,
        };
        let recorded_at = match self.recorder.record_login(login, now).await {
            Ok(LoginRecordOutcome::Recorded { at }) => at,
            Ok(LoginRecordOutcome::ProofUsed) => {
                self.drop_session(session).await;
                return Ok(None);
            }
            Err(error) => {
                if !(may_be_repeated && matches!(error, AuthError::LoginUnconfirmed)) {
                    self.drop_session(session).await;
                }
                return Err(error);
            }
        };
        // The instant of the event, so that presence recognizes it.
        self.presence
            .report_login(account.user_id, account.username, recorded_at)
            .await;
        Ok(Some(tokens))
    }

    /// The first tokens of a session that a registration has opened; `None` once they were used, or the
    /// session has ended.
    pub async fn find_first_tokens(
        &self,
        used: &UsedRegistrationToken,
    ) -> Result<Option<SessionTokens>, AuthError> {
        let (session, pair) = (used.session, used.pair);
        if self.recorder.is_account_deleted(session.user_id).await?
            || !store::sessions::is_usable(&self.redis, session.user_id, pair.refresh_jti).await?
        {
            return Ok(None);
        }
        let auth_time = pair.issued_at.timestamp();
        Ok(Some(self.issue_tokens(session, pair, auth_time)?))
    }

    /// Ends a session whose tokens were not handed out. If that fails, the session expires unused.
    async fn drop_session(&self, session: UserSession) {
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        if let Err(error) = store::sessions::end(&self.redis, session, lifetime_secs).await {
            tracing::warn!(
                user_id = session.user_id,
                %error,
                "failed to drop a session that was not recorded; it will expire unused"
            );
        }
    }

    /// Exchanges a refresh token for a new pair. A token that was exchanged before ends every session of its
    /// user (contract, section 2), because somebody else has it as well. Only within the configured grace for
    /// a lost answer, and while nobody has used the new pair, the token returns that pair once more.
    pub async fn refresh_tokens(&self, refresh_token: &str) -> Result<SessionTokens, AuthError> {
        let now = self.clock.now();
        let Some(TokenClaims {
            jti: used_jti,
            iat,
            auth_time,
            grant: TokenGrant::Refresh(session),
            ..
        }) = self.issuer.check_token(refresh_token, now)?
        else {
            return Err(AuthError::InvalidRefreshToken);
        };
        // The login of a token from before logins were kept is unknown. It must not pass for a recent one.
        let refresh_secs = self.issuer.lifetimes().refresh_secs;
        let auth_time = auth_time.unwrap_or_else(|| iat.saturating_sub(refresh_secs.into()));
        if self.issuer.lifetimes().session_end(auth_time) <= now.timestamp() {
            return Err(self.refuse_refresh(session, now));
        }
        // Final although it is not locked: a deletion ends the sessions in Redis after its own commit, and
        // a session that has ended does not rotate.
        if self.recorder.is_account_deleted(session.user_id).await? {
            return Err(self.refuse_refresh(session, now));
        }
        let next = new_token_ids(now);
        let lifetime_secs = self.issuer.lifetimes().refresh_secs;
        let grace_secs = self.refresh_grace_secs;
        let rotation = store::sessions::rotate(
            &self.redis,
            session,
            used_jti,
            next,
            lifetime_secs,
            grace_secs,
        )
        .await?;
        match rotation {
            TokenRotationOutcome::Rotated => self.issue_tokens(session, next, auth_time),
            TokenRotationOutcome::Repeated(pair) => self.issue_tokens(session, pair, auth_time),
            TokenRotationOutcome::Unknown => Err(self.refuse_refresh(session, now)),
            TokenRotationOutcome::Reused { ended } => {
                self.end_reused_sessions(session, ended, now).await?;
                Err(AuthError::InvalidRefreshToken)
            }
        }
    }

    fn refuse_refresh(&self, session: UserSession, now: DateTime<Utc>) -> AuthError {
        let entry = AuditLogEntry::new(AuditAction::RefreshRefused, now).with_session(session);
        self.refusals.record(entry);
        AuthError::InvalidRefreshToken
    }

    /// Ends all sessions of a user whose refresh token was used twice, and revokes their access tokens.
    async fn end_reused_sessions(
        &self,
        session: UserSession,
        ended: Vec<String>,
        now: DateTime<Utc>,
    ) -> Result<(), AuthError> {
        let user_id = session.user_id;
        tracing::warn!(
            user_id,
            "a refresh token was used twice; all sessions ended"
        );
        let revocation = self.session_revocation(user_id, ended, now);
        let entry = AuditLogEntry::new(AuditAction::RefreshTokenReused, now).with_session(session);
        self.recorder
            .record_revocation(entry, now, revocation.clone())
            .await?;
        store::sessions::revoke(&self.redis, &revocation, now).await
    }

    /// Ends the requesting session, with every token of it and the refresh tokens of all other sessions of
    /// its user, and reports them offline. For an older gateway, which does not name the session, only the
    /// access token of the request is revoked.
    ///
    /// The event is written first, so that the client can repeat the request if Redis fails afterwards.
    pub async fn log_out(
        &self,
        user_id: i64,
        access_jti: Uuid,
        session_id: Option<Uuid>,
    ) -> Result<(), AuthError> {
        let now = self.clock.now();
        let session_ids: Vec<String> = session_id.iter().map(Uuid::to_string).collect();
        let revocation = TokenRevocation {
            token_ids: vec![access_jti.to_string()],
            ..self.session_revocation(user_id, session_ids.clone(), now)
        };
        let entry = AuditLogEntry::new(AuditAction::LoggedOut, now).with_user(user_id);
        let logout = self.recorder.record_logout(entry, now, revocation.clone());
        logout.await?;
        store::sessions::revoke(&self.redis, &revocation, now).await?;
        self.presence.report_logout(user_id, session_ids, now).await;
        Ok(())
    }

    /// Ends an account for good: its sessions and tokens end, and no more are issued. Returns once every
    /// gateway refuses the tokens. Each step may happen twice, so a client that gets no answer repeats the
    /// request.
    pub async fn end_account(&self, user_id: i64) -> Result<(), AuthError> {
        let now = self.clock.now();
        let lifetimes = self.issuer.lifetimes();
        let revocation = self.recorder.end_account(user_id, now, lifetimes).await?;
        failpoint::reach("auth.account.ended");
        store::sessions::revoke(&self.redis, &revocation, now).await?;
        tokio::time::sleep(REVOCATIONS_HOLD).await;
        Ok(())
    }

    /// The open sessions of a user, last used first.
    pub async fn list_open(&self, user_id: i64) -> Result<Vec<OpenSession>, AuthError> {
        store::sessions::list(&self.redis, user_id).await
    }

    /// Ends one session with its access tokens. These are revoked first, so that a client that gets no answer
    /// finds the session and can repeat the request. With the last session its user goes offline. If the last
    /// two sessions end each other at the same time, neither counts as the last, and the sweep of presence
    /// marks the user offline later.
    pub async fn end_session(&self, session: UserSession) -> Result<(), AuthError> {
        let (now, user_id) = (self.clock.now(), session.user_id);
        let session_id = session.session_id.to_string();
        let open = self.list_open_ids(user_id).await?;
        if !open.contains(&session_id) {
            return Err(AuthError::SessionNotFound);
        }
        let is_last = open.len() == 1;
        let revocation = self.session_revocation(user_id, vec![session_id.clone()], now);
        let entry = AuditLogEntry::new(AuditAction::SessionEnded, now).with_session(session);
        if is_last {
            self.recorder.record_logout(entry, now, revocation).await?;
        } else {
            self.recorder
                .record_revocation(entry, now, revocation)
                .await?;
        }
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        store::sessions::end(&self.redis, session, lifetime_secs).await?;
        if is_last {
            let ended = vec![session_id];
            self.presence.report_logout(user_id, ended, now).await;
        }
        Ok(())
    }

    /// Ends every session of a user with all their tokens, and reports them offline. The event is written
    /// first, as in [`SessionService::log_out`].
    pub async fn log_out_everywhere(&self, session: UserSession) -> Result<(), AuthError> {
        let (now, user_id) = (self.clock.now(), session.user_id);
        // The session of this request may have ended already and is revoked in any case.
        let mut ended = vec![session.session_id.to_string()];
        let open = self.list_open_ids(user_id).await?.into_iter();
        ended.extend(open.filter(|session_id| *session_id != session.session_id.to_string()));
        let revocation = self.session_revocation(user_id, ended.clone(), now);
        let entry = AuditLogEntry::new(AuditAction::LoggedOutEverywhere, now).with_user(user_id);
        self.recorder.record_logout(entry, now, revocation).await?;
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        store::sessions::end_all(&self.redis, session, lifetime_secs).await?;
        self.presence.report_logout(user_id, ended, now).await;
        Ok(())
    }

    /// Lists a page of revoked access tokens that have not expired.
    pub async fn list_revocations(
        &self,
        since: Option<DateTime<Utc>>,
        after_id: i64,
    ) -> Result<TokenRevocationPage, AuthError> {
        let now = self.clock.now();
        Ok(self.recorder.list_revocations(since, after_id, now).await?)
    }

    async fn list_open_ids(&self, user_id: i64) -> Result<Vec<String>, AuthError> {
        let open = self.list_open(user_id).await?.into_iter();
        Ok(open.map(|session| session.session_id).collect())
    }

    /// The revocation of every access token that these sessions can have.
    fn session_revocation(
        &self,
        user_id: i64,
        session_ids: Vec<String>,
        now: DateTime<Utc>,
    ) -> TokenRevocation {
        TokenRevocation::for_sessions(user_id, session_ids, now, self.issuer.lifetimes())
    }

    /// Signs a pair: the same one for the same input, since Ed25519 uses no randomness.
    fn issue_tokens(
        &self,
        session: UserSession,
        pair: TokenIdPair,
        auth_time: i64,
    ) -> Result<SessionTokens, AuthError> {
        let TokenIdPair {
            refresh_jti,
            access_jti,
            issued_at,
        } = pair;
        let issue = |jti, grant| {
            self.issuer
                .issue_session_token(jti, issued_at, grant, auth_time)
        };
        Ok(SessionTokens {
            access: issue(access_jti, TokenGrant::Access(session))?,
            refresh: issue(refresh_jti, TokenGrant::Refresh(session))?,
        })
    }
}

fn new_token_ids(now: DateTime<Utc>) -> TokenIdPair {
    TokenIdPair {
        refresh_jti: Uuid::new_v4(),
        access_jti: Uuid::new_v4(),
        issued_at: now,
    }
}
