//! A person with sockets on this replica: whom they must not see, and what wakes their sockets.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, error};
use talktime_proto::profile::v1::GetViewerRequest;
use tokio::sync::watch;

use super::Hub;
use crate::app::Profile;

/// Blocks that come while we ask about them make us ask again, so often.
const LOADS_MAX: u32 = 5;
const RELOADS_MAX: u32 = 10;
const RELOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A person with sockets on this replica.
pub(super) struct Viewer {
    pub(super) user_id: i64,
    hidden: RwLock<HashSet<i64>>,
    is_barred: AtomicBool,
    /// Grows with every block, so that an answer about blocks that was overtaken shows.
    generation: AtomicU64,
    /// There is a letter.
    pub(super) letters: watch::Sender<()>,
    /// Whether the sockets may stay is in doubt.
    pub(super) doubts: watch::Sender<()>,
}

impl Viewer {
    pub(super) fn new(user_id: i64) -> Self {
        Self {
            user_id,
            hidden: RwLock::default(),
            is_barred: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            letters: watch::Sender::new(()),
            doubts: watch::Sender::new(()),
        }
    }

    /// Runs `with` on whom they must not see.
    pub(super) fn with_hidden<T>(&self, with: impl FnOnce(&HashSet<i64>) -> T) -> T {
        with(&self.hidden.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether they have no role any more.
    pub(super) fn is_barred(&self) -> bool {
        self.is_barred.load(Ordering::Relaxed)
    }

    /// Hides somebody from now on.
    pub(super) fn hide(&self, user_id: i64) {
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        hidden.insert(user_id);
    }

    /// Asks profile whom they must not see, and whether they have a role.
    pub(super) async fn load(&self, profile: &Profile) -> Result<(), Error> {
        for _ in 0..LOADS_MAX {
            let asked_at = self.generation.load(Ordering::SeqCst);
            let user_id = self.user_id;
            let answer = retry_idempotent(|| {
                let mut profile = profile.clone();
                async move { profile.get_viewer(GetViewerRequest { user_id }).await }
            })
            .await?;
            let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
            if self.generation.load(Ordering::SeqCst) == asked_at {
                *hidden = answer.hidden_user_ids.into_iter().collect();
                self.is_barred
                    .store(answer.roles.is_empty(), Ordering::Relaxed);
                return Ok(());
            }
        }
        Err(Error::internal("blocks that never come to rest"))
    }

    /// The same in the background, a few times. Until it succeeds, what was hidden stays so.
    pub(super) async fn reload(self: Arc<Self>, profile: Profile) {
        for _ in 0..RELOADS_MAX {
            match self.load(&profile).await {
                Ok(()) => {
                    self.doubts.send_replace(());
                    return;
                }
                Err(error) => tracing::warn!(
                    user_id = self.user_id,
                    error = error::chain(&error),
                    "blocks are asked for again"
                ),
            }
            tokio::time::sleep(RELOAD_AGAIN_AFTER).await;
        }
    }
}

/// Keeps a viewer known to the hub; the last one to go is forgotten.
pub(super) struct ViewerHandle {
    pub(super) hub: Hub,
    pub(super) viewer: Arc<Viewer>,
}

impl Deref for ViewerHandle {
    type Target = Arc<Viewer>;

    fn deref(&self) -> &Arc<Viewer> {
        &self.viewer
    }
}

impl Drop for ViewerHandle {
    fn drop(&mut self) {
        self.hub.leave(&self.viewer);
    }
}
