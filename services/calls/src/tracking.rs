//! Live calls in Redis under `call:{call_id}`. The entries serve inspection only; no decision depends on
//! them.

use std::time::Duration;

use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::{HashesInterface, KeysInterface};

use crate::domain::call::Call;

/// Time to live in seconds of an entry whose removal was missed.
const ENTRY_TTL_SECS: i64 = 24 * 3600;
/// Time limit for Redis.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Tracks live calls in Redis.
#[derive(Clone)]
pub struct LiveCallTracker {
    redis: Pool,
}

impl LiveCallTracker {
    pub(crate) fn new(redis: Pool) -> Self {
        Self { redis }
    }

    /// Adds a live call.
    pub(crate) async fn track(&self, call: &Call) {
        let key = key(call.call_id);
        let fields = vec![
            ("user_id", call.user_id.to_string()),
            ("listener_id", call.listener_id.to_string()),
            ("call_type", call.call_type.name().to_owned()),
            (
                "start_time",
                call.start_time
                    .map(|at| at.to_rfc3339())
                    .unwrap_or_default(),
            ),
        ];
        let add = async {
            let pipeline = self.redis.next().pipeline();
            let _: () = pipeline.hset(&key, fields).await?;
            let _: () = pipeline.expire(&key, ENTRY_TTL_SECS, None).await?;
            pipeline.all::<()>().await
        };
        self.run_best_effort(call.call_id, add).await;
    }

    /// Removes an ended call.
    pub(crate) async fn untrack(&self, call_id: i64) {
        self.run_best_effort(call_id, self.redis.del::<(), _>(key(call_id)))
            .await;
    }

    async fn run_best_effort<E: std::fmt::Display>(
        &self,
        call_id: i64,
        command: impl Future<Output = Result<(), E>>,
    ) {
        match tokio::time::timeout(TIMEOUT, command).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    %error,
                    call_id,
                    "failed to update the entry of a call in Redis; it will expire"
                );
            }
            Err(_elapsed) => tracing::warn!(
                call_id,
                "Redis did not update the entry of a call in time; it will expire"
            ),
        }
    }
}

fn key(call_id: i64) -> String {
    format!("call:{call_id}")
}
