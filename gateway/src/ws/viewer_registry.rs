//! All users with open sockets on this replica.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{Error, error};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use super::viewer::SocketViewer;
use crate::clients::ProfileClient;

const RELOADS_MAX: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The users with open sockets on this replica; cheap to clone.
#[derive(Clone)]
pub(super) struct ViewerRegistry(Arc<ViewerRegistryParts>);

struct ViewerRegistryParts {
    viewers: Mutex<HashMap<i64, RegisteredViewer>>,
    profile: ProfileClient,
    lifecycle: ProcessLifecycle,
}

struct RegisteredViewer {
    viewer: Arc<SocketViewer>,
    handles: usize,
}

/// Keeps a viewer registered. The registry forgets a viewer with its last handle.
pub(super) struct ViewerHandle {
    registry: ViewerRegistry,
    viewer: Arc<SocketViewer>,
}

impl ViewerRegistry {
    pub(super) fn new(profile: ProfileClient, lifecycle: ProcessLifecycle) -> Self {
        Self(Arc::new(ViewerRegistryParts {
            viewers: Mutex::default(),
            profile,
            lifecycle,
        }))
    }

    /// Registers a user for a new socket and loads which users are hidden from them.
    pub(super) async fn register(&self, user_id: i64) -> Result<ViewerHandle, Error> {
        let handle = self.add_handle(user_id);
        // After the registration, so that a block in the meantime reaches this viewer.
        handle.load(&self.0.profile).await?;
        Ok(handle)
    }

    fn add_handle(&self, user_id: i64) -> ViewerHandle {
        let mut viewers = self.lock();
        let registered = viewers.entry(user_id).or_insert_with(|| RegisteredViewer {
            viewer: Arc::new(SocketViewer::new(user_id)),
            handles: 0,
        });
        registered.handles += 1;
        ViewerHandle {
            registry: self.clone(),
            viewer: registered.viewer.clone(),
        }
    }

    fn remove_handle(&self, user_id: i64) {
        if let Entry::Occupied(mut registered) = self.lock().entry(user_id) {
            registered.get_mut().handles -= 1;
            if registered.get().handles == 0 {
                registered.remove();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn find(&self, user_id: i64) -> Option<Arc<SocketViewer>> {
        let viewers = self.lock();
        let registered = viewers.get(&user_id)?;
        Some(registered.viewer.clone())
    }

    pub(super) fn request_access_check(&self, user_id: i64) {
        if let Some(viewer) = self.find(user_id) {
            viewer.request_access_check();
        }
    }

    pub(super) fn request_all_access_checks(&self) {
        for registered in self.lock().values() {
            registered.viewer.request_access_check();
        }
    }

    /// Applies an event to the viewers that it concerns.
    pub(super) fn apply_event(&self, event: &Event) {
        match &event.kind {
            Some(Kind::UserBlocked(block)) => {
                self.hide(block.user_id, block.blocked_id);
                self.hide(block.blocked_id, block.user_id);
            }
            // The other user may have blocked this one as well: only profile knows.
            Some(Kind::UserUnblocked(block)) => {
                self.spawn_reload(block.user_id);
                self.spawn_reload(block.blocked_id);
            }
            Some(Kind::RoleChanged(role)) => self.spawn_reload(role.user_id),
            Some(Kind::UserDeleted(user)) => self.request_access_check(user.user_id),
            _ => {}
        }
    }

    fn hide(&self, viewer_id: i64, hidden_id: i64) {
        if let Some(viewer) = self.find(viewer_id) {
            viewer.hide(hidden_id);
        }
    }

    fn spawn_reload(&self, user_id: i64) {
        let Some(viewer) = self.find(user_id) else {
            return;
        };
        let ViewerRegistryParts {
            profile, lifecycle, ..
        } = &*self.0;
        let (profile, stopping) = (profile.clone(), lifecycle.stopping());
        lifecycle.spawn(async move {
            let reloading = reload(&viewer, &profile);
            stopping.run_until_cancelled(reloading).await;
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, RegisteredViewer>> {
        let viewers = self.0.viewers.lock();
        viewers.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads a viewer again, with retries. Until it succeeds, hidden users stay hidden.
async fn reload(viewer: &SocketViewer, profile: &ProfileClient) {
    for _ in 0..RELOADS_MAX {
        match viewer.load(profile).await {
            Ok(()) => return viewer.request_access_check(),
            Err(error) => tracing::warn!(
                user_id = viewer.user_id,
                error = error::chain(&error),
                "failed to load blocks and roles for open sockets; will retry"
            ),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

impl ViewerHandle {
    /// Returns the viewer itself, which does not keep it registered.
    pub(super) fn viewer(&self) -> Arc<SocketViewer> {
        self.viewer.clone()
    }
}

impl Deref for ViewerHandle {
    type Target = SocketViewer;

    fn deref(&self) -> &SocketViewer {
        &self.viewer
    }
}

impl Drop for ViewerHandle {
    fn drop(&mut self) {
        self.registry.remove_handle(self.viewer.user_id);
    }
}
