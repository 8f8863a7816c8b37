//! The states of a process from start to stop: ready, draining, stopped. A deadline bounds the stop even if a
//! task hangs.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ShutdownConfig;
use crate::progress::{LoopProgress, LoopRegistry, StuckLoop};

/// The state of the process, shared by all parts that must know it; cheap to clone. Layers clone it for each request,
/// and to clone a token takes a lock, so all parts are behind one reference count.
#[derive(Clone, Debug, Default)]
pub struct ProcessLifecycle(Arc<ProcessLifecycleState>);

#[derive(Debug, Default)]
struct ProcessLifecycleState {
    ready: AtomicBool,
    draining: CancellationToken,
    stopping: CancellationToken,
    tasks: TaskTracker,
    loops: LoopRegistry,
}

impl ProcessLifecycle {
    /// Returns whether new work is accepted.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// Marks the process as ready for its first request.
    pub fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
    }

    /// Returns a token that is cancelled when new work is no longer welcome, though it is still done.
    pub fn draining(&self) -> CancellationToken {
        self.0.draining.clone()
    }

    /// Returns a token that is cancelled when the process must finish its work and begin nothing new.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Registers a background loop, which turns at least once in `turn_max`.
    pub fn register_loop(
        &self,
        name: impl Into<Cow<'static, str>>,
        turn_max: Duration,
    ) -> LoopProgress {
        self.0.loops.register(name, turn_max)
    }

    /// Returns a loop that no longer turns, unless the process is about to stop, when all loops end.
    pub fn find_stuck_loop(&self) -> Option<StuckLoop> {
        let is_stopping = self.0.stopping.is_cancelled();
        self.0.loops.find_stuck().filter(|_| !is_stopping)
    }

    /// Runs a background task that the stop waits for. The task watches [`ProcessLifecycle::stopping`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    /// Runs a request to its end in a task of its own, which the stop waits for.
    ///
    /// HTTP servers drop the future of a handler when its client disconnects. A request that was dropped
    /// half-way would be left to sweepers, and clients that disconnect on purpose could stop the requests of
    /// others through shared batches.
    ///
    /// # Errors
    /// The request panicked, or the runtime is shutting down.
    pub async fn run_to_completion<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.0.tasks.spawn(request).await
    }

    /// Runs a server, which watches [`ProcessLifecycle::stopping`], until SIGTERM or SIGINT. Then the server and the
    /// background tasks finish what they have begun, each within the deadline.
    ///
    /// # Errors
    /// The server failed, or the signal handlers cannot be installed.
    pub async fn run_until_drained<E>(
        &self,
        server: impl Future<Output = Result<(), E>>,
        config: &ShutdownConfig,
    ) -> anyhow::Result<()>
    where
        anyhow::Error: From<E>,
    {
        tokio::pin!(server);
        tokio::select! {
            result = &mut server => result?,
            result = self.drain_on_signal(config) => {
                result?;
                let deadline = Duration::from_millis(config.deadline_ms);
                if tokio::time::timeout(deadline, server).await.is_err() {
                    tracing::warn!("requests did not end within the deadline; they are aborted");
                }
            }
        }
        self.finish(config).await;
        Ok(())
    }

    /// Waits for SIGTERM or SIGINT, reports "not ready", gives load balancers time to notice, and cancels
    /// [`ProcessLifecycle::stopping`].
    async fn drain_on_signal(&self, config: &ShutdownConfig) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        self.0.ready.store(false, Ordering::Relaxed);
        self.0.draining.cancel();
        tokio::time::sleep(Duration::from_millis(config.drain_delay_ms)).await;
        self.0.stopping.cancel();
        Ok(())
    }

    /// Waits for background tasks, but no longer than the deadline.
    async fn finish(&self, config: &ShutdownConfig) {
        self.0.tasks.close();
        let deadline = Duration::from_millis(config.deadline_ms);
        if tokio::time::timeout(deadline, self.0.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.0.tasks.len(),
                "background tasks did not end within the deadline; they are aborted"
            );
        }
        tracing::info!("stopped");
    }
}
