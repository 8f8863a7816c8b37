//! `call:{call_id}` in Redis while a call is on: for looking, never for deciding.

use std::time::Duration;

use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::{HashesInterface, KeysInterface};

use crate::domain::call::Call;

/// A call whose end was never seen disappears by itself.
const KEPT_SECS: i64 = 24 * 3600;
/// Nobody waits longer for a picture.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Shows live calls in Redis.
#[derive(Clone)]
pub struct LiveCallTracker {
    redis: Pool,
}

impl LiveCallTracker {
    pub(crate) fn new(redis: Pool) -> Self {
        Self { redis }
    }

    /// Shows a call that has started.
    pub(crate) async fn track(&self, call: &Call) {
        let key = key(call.call_id);
        let fields = vec![
            ("user_id", call.user_id.to_string()),
            ("listener_id", call.listener_id.to_string()),
            ("call_type", call.call_type.word().to_owned()),
            (
                "start_time",
                call.start_time
                    .map(|at| at.to_rfc3339())
                    .unwrap_or_default(),
            ),
        ];
        let show = async {
            let pipeline = self.redis.next().pipeline();
            let _: () = pipeline.hset(&key, fields).await?;
            let _: () = pipeline.expire(&key, KEPT_SECS, None).await?;
            pipeline.all::<()>().await
        };
        self.run_best_effort(show).await;
    }

    /// Takes a call away that has ended.
    pub(crate) async fn untrack(&self, call_id: i64) {
        self.run_best_effort(self.redis.del::<(), _>(key(call_id)))
            .await;
    }

    async fn run_best_effort<E: std::fmt::Display>(
        &self,
        command: impl Future<Output = Result<(), E>>,
    ) {
        match tokio::time::timeout(TIMEOUT, command).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a call is not shown in Redis"),
            Err(_elapsed) => tracing::warn!("a call is not shown in Redis in time"),
        }
    }
}

fn key(call_id: i64) -> String {
    format!("call:{call_id}")
}
