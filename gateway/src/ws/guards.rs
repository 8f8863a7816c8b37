//! The conditions that end a session whatever its client does.

use std::pin::Pin;
use std::sync::Arc;

use talktime_kit::pace::FrequentPolls;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::close::{SocketRefusal, SocketSessionEnd};
use super::context::SocketContext;
use super::viewer::SocketViewer;
use crate::token::{CurrentUser, TokenVerifier};

/// Ends a session when its token expires or is revoked, its user loses all roles, or the process stops.
pub(super) struct SocketSessionGuards {
    tokens: TokenVerifier,
    current_user: CurrentUser,
    viewer: Arc<SocketViewer>,
    access_checks: watch::Receiver<()>,
    _current_revocations: FrequentPolls,
    // The two waits are registered once and not each time that the socket is woken.
    expiry: Pin<Box<Sleep>>,
    /// The end of the stream, which ends with the process at the latest.
    stream_end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl SocketSessionGuards {
    pub(super) fn new(
        context: &SocketContext,
        current_user: CurrentUser,
        viewer: Arc<SocketViewer>,
        stream_ended: CancellationToken,
    ) -> Self {
        let remaining = current_user.expires_at - context.clock.now();
        let mut access_checks = viewer.access_checks.subscribe();
        // The token was checked before this subscription, so it must be checked once more.
        access_checks.mark_changed();
        Self {
            _current_revocations: context.tokens.keep_revocations_current(),
            tokens: context.tokens.clone(),
            expiry: Box::pin(sleep(remaining.to_std().unwrap_or_default())),
            current_user,
            viewer,
            access_checks,
            stream_end: Box::pin(stream_ended.cancelled_owned()),
        }
    }

    pub(super) fn current_user(&self) -> &CurrentUser {
        &self.current_user
    }

    /// Waits until the session must end. The future may be dropped and created again.
    pub(super) async fn wait_for_end(&mut self) -> SocketSessionEnd {
        loop {
            tokio::select! {
                () = &mut self.expiry => {
                    let refusal = SocketRefusal::auth_failed("The access token has expired.");
                    return SocketSessionEnd::Refused(refusal);
                }
                () = &mut self.stream_end => return SocketSessionEnd::Restarting,
                // The sender belongs to the viewer, so it cannot be gone.
                _ = self.access_checks.changed() => {
                    if let Some(end) = self.check_access().await {
                        return end;
                    }
                }
            }
        }
    }

    /// Returns why the session must end, if it must. A revocation that cannot be determined now is checked
    /// again with the next request for a check.
    async fn check_access(&self) -> Option<SocketSessionEnd> {
        if self.viewer.has_no_roles() {
            return Some(SocketSessionEnd::Refused(SocketRefusal::no_roles()));
        }
        let is_revoked = self.tokens.is_revoked(&self.current_user).await;
        is_revoked.unwrap_or_default().then(|| {
            SocketSessionEnd::Refused(SocketRefusal::auth_failed(
                "The access token has been revoked.",
            ))
        })
    }
}
