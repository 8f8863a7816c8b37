//! A user with open sockets on this replica: the users hidden from them, and the signals that wake their
//! sockets.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::profile::v1::GetViewerRequest;
use tokio::sync::watch;

use crate::clients::ProfileClient;

/// Every block that arrives during a load makes its answer outdated and the load start again.
const LOADS_MAX: u32 = 5;

/// A user with open sockets on this replica.
pub(super) struct SocketViewer {
    pub(super) user_id: i64,
    hidden: RwLock<HashSet<i64>>,
    has_no_roles: AtomicBool,
    /// Increases with every block, so that an outdated answer about blocks is detected.
    generation: AtomicU64,
    /// Changes when there is a message for this user.
    pub(super) message_updates: watch::Sender<()>,
    /// Changes when the sockets must check again whether their user still has access.
    pub(super) access_checks: watch::Sender<()>,
}

impl SocketViewer {
    pub(super) fn new(user_id: i64) -> Self {
        Self {
            user_id,
            hidden: RwLock::default(),
            has_no_roles: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            message_updates: watch::Sender::new(()),
            access_checks: watch::Sender::new(()),
        }
    }

    pub(super) fn with_hidden_users<T>(&self, read: impl FnOnce(&HashSet<i64>) -> T) -> T {
        read(&self.hidden.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_no_roles(&self) -> bool {
        self.has_no_roles.load(Ordering::Relaxed)
    }

    /// Hides another user from now on.
    pub(super) fn hide(&self, user_id: i64) {
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        hidden.insert(user_id);
    }

    /// Makes the sockets of this user check whether they may stay open.
    pub(super) fn request_access_check(&self) {
        self.access_checks.send_replace(());
    }

    /// Loads the hidden users and the roles from profile.
    pub(super) async fn load(&self, profile: &ProfileClient) -> Result<(), Error> {
        for _ in 0..LOADS_MAX {
            let generation = self.generation.load(Ordering::SeqCst);
            let user_id = self.user_id;
            let answer = retry_idempotent(
                profile,
                ProfileClient::get_viewer,
                GetViewerRequest { user_id },
            )
            .await?;
            let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
            if self.generation.load(Ordering::SeqCst) == generation {
                *hidden = answer.hidden_user_ids.into_iter().collect();
                self.has_no_roles
                    .store(answer.roles.is_empty(), Ordering::Relaxed);
                return Ok(());
            }
        }
        Err(Error::internal(
            "blocks kept changing while they were loaded",
        ))
    }
}
