//! From start to stop: ready, draining, stopped; with a deadline that holds whatever hangs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ShutdownConfig;

/// Shared by everything that must know whether the process is ready or stopping.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    ready: Arc<AtomicBool>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Whether new work is welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says that everything needed for the first request is there.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
    }

    /// Resolves when the process is to finish what it has begun and begin nothing new.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Runs a background task that the stop waits for. The task watches [`Lifecycle::stopping`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for SIGTERM or SIGINT, then says "not ready", waits for load balancers to notice, and
    /// tells everyone to stop.
    pub async fn drain_on_signal(&self, config: &ShutdownConfig) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        self.ready.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(config.drain_delay_ms)).await;
        self.stopping.cancel();
        Ok(())
    }

    /// Waits for background tasks, but no longer than the deadline.
    pub async fn finish(&self, config: &ShutdownConfig) {
        self.tasks.close();
        let deadline = Duration::from_millis(config.deadline_ms);
        if tokio::time::timeout(deadline, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.tasks.len(), "stopped with tasks still running");
        }
        tracing::info!("stopped");
    }
}
