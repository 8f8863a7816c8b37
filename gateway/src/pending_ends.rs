//! Requests to end calls that could not be answered.
//!
//! While the calls service or its database is silent, nobody can end a call, and its minutes are charged all the
//! same, by another replica or afterwards. A user who has hung up does not pay for that: this module remembers
//! when an end was first requested, repeats it until it is answered, and states how long ago it was. The call ends
//! as of that moment. A process that dies forgets these times; then the repetition of the app counts from its own
//! time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork, WorkWaker};
use talktime_kit::tokens::UserToken;
use talktime_kit::{Error, ErrorKind, grpc};
use talktime_proto::calls::v1::{EndCallRequest, EndCallResponse};

use crate::clients::CallsClient;

/// Ends that are remembered at most; further requests are sent on once and not repeated.
const PENDING_MAX: usize = 10_000;
/// How long an end is repeated, and its answer kept for the app.
const PENDING_FOR: Duration = Duration::from_mins(10);
/// The time limit of one attempt of a repetition.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Repetitions in one turn, so that an outage with many ends does not become a flood of them.
const REPEATS_PER_TURN_MAX: usize = 64;
/// Repetitions at the same time.
const CONCURRENT_REPEATS_MAX: usize = 32;
/// An end that is answered so soon ends when it is answered.
const WAITED_MIN: Duration = Duration::from_secs(1);

/// The pause between repetitions.
const REPEAT_EVERY: Duration = Duration::from_millis(500);
const REPEAT_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("gateway.pending_ends"),
    // Without ends there is nothing to do; the first one wakes the work.
    interval: Duration::from_mins(1),
    retry_after: REPEAT_EVERY,
    deadline: Duration::from_mins(1),
    first_turn: FirstTurnStart::AfterInterval,
};

/// Identifies an end.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct CallEndKey {
    call_id: i64,
    /// The user who ends the call.
    user_id: i64,
}

/// The ends that are not answered yet; cheap to clone.
#[derive(Clone)]
pub struct PendingCallEnds {
    calls: CallsClient,
    ends: Arc<Mutex<HashMap<CallEndKey, PendingCallEnd>>>,
    /// Starts the repetitions when there are ends again.
    waker: WorkWaker,
}

struct PendingCallEnd {
    request: EndCallRequest,
    /// The token of the user, with whose rights the end is repeated.
    token: Option<UserToken>,
    asked_at: Instant,
    /// Begin of the last attempt.
    tried_at: Instant,
    /// Attempts under way; an end is repeated while there is none.
    attempts: usize,
    /// The answer to a repetition, for the app to fetch.
    answer: Option<EndCallResponse>,
}

/// An attempt under way. It ends also by being dropped, at the deadline of its request.
struct CallEndAttempt<'a> {
    pending: &'a PendingCallEnds,
    key: CallEndKey,
    asked_at: Instant,
}

impl PendingCallEnds {
    /// Repeats ends in the background until the process stops.
    pub fn start(calls: CallsClient, lifecycle: &ProcessLifecycle) -> Self {
        let pending = Self {
            calls,
            ends: Arc::default(),
            waker: WorkWaker::default(),
        };
        let repeated = pending.clone();
        let waker = pending.waker.clone();
        periodic::start_wakeable(lifecycle, REPEAT_WORK, waker, move || {
            repeat_all(repeated.clone())
        });
        pending
    }

    /// Ends a call for a user.
    ///
    /// # Errors
    /// Refusals of calls are passed on. An end that calls could not answer is repeated in the background.
    pub async fn end_call(&self, request: EndCallRequest) -> Result<EndCallResponse, Error> {
        if let Some(answer) = self.take_answer(&request) {
            return Ok(answer);
        }
        let attempt = self.begin_attempt(&request);
        let answered = self.request_end(request, attempt.asked_at).await;
        if is_answer(&answered) {
            self.lock().remove(&attempt.key);
        }
        answered
    }

    async fn request_end(
        &self,
        mut request: EndCallRequest,
        asked_at: Instant,
    ) -> Result<EndCallResponse, Error> {
        let waited = Some(asked_at.elapsed()).filter(|waited| *waited >= WAITED_MIN);
        let waited_ms = waited.unwrap_or_default().as_millis();
        request.waited_ms = i64::try_from(waited_ms).unwrap_or(i64::MAX);
        Ok(self.calls.clone().end_call(request).await?.into_inner())
    }

    /// Returns the answer that a repetition has got since the last request of this user.
    fn take_answer(&self, request: &EndCallRequest) -> Option<EndCallResponse> {
        let mut ends = self.lock();
        let key = key_of(request);
        let answer = ends.get(&key)?.answer.clone()?;
        ends.remove(&key);
        Some(answer)
    }

    fn begin_attempt(&self, request: &EndCallRequest) -> CallEndAttempt<'_> {
        let (key, now) = (key_of(request), Instant::now());
        let mut ends = self.lock();
        let is_full = ends.len() >= PENDING_MAX && !ends.contains_key(&key);
        if ends.is_empty() {
            self.waker.wake();
        }
        let asked_at = if is_full {
            now
        } else {
            let end = ends.entry(key).or_insert_with(|| PendingCallEnd {
                request: request.clone(),
                token: None,
                asked_at: now,
                tried_at: now,
                attempts: 0,
                answer: None,
            });
            end.attempts += 1;
            end.tried_at = now;
            end.token = grpc::current_user_token().or(end.token.take());
            end.asked_at
        };
        CallEndAttempt {
            pending: self,
            key,
            asked_at,
        }
    }

    /// Repeats one end and keeps the answer. A refusal means that there is nothing left to end.
    async fn repeat(&self, request: EndCallRequest) {
        let attempt = self.begin_attempt(&request);
        let attempted = self.request_end(request, attempt.asked_at);
        let answered = grpc::run_within(ATTEMPT_TIMEOUT, attempted).await;
        if !is_answer(&answered) {
            return;
        }
        let mut ends = self.lock();
        match answered {
            Ok(answer) => {
                tracing::info!(
                    call_id = attempt.key.call_id,
                    waited_secs = attempt.asked_at.elapsed().as_secs(),
                    "ended a call as of the time at which a user requested it"
                );
                if let Some(end) = ends.get_mut(&attempt.key) {
                    end.answer = Some(answer);
                }
            }
            Err(_) => {
                ends.remove(&attempt.key);
            }
        }
    }

    /// Forgets old ends and returns those to repeat: no app requests them at the moment, and their last
    /// attempts are the longest ago.
    fn list_unattended(&self) -> Vec<(EndCallRequest, Option<UserToken>)> {
        let mut ends = self.lock();
        ends.retain(|_, end| end.asked_at.elapsed() < PENDING_FOR);
        let mut unattended: Vec<&PendingCallEnd> = ends
            .values()
            .filter(|end| end.attempts == 0 && end.answer.is_none())
            .collect();
        unattended.sort_by_key(|end| end.tried_at);
        let repeated = unattended.into_iter().take(REPEATS_PER_TURN_MAX);
        repeated
            .map(|end| (end.request.clone(), end.token.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallEndKey, PendingCallEnd>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CallEndAttempt<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.pending.lock().get_mut(&self.key) {
            end.attempts = end.attempts.saturating_sub(1);
        }
    }
}

fn key_of(request: &EndCallRequest) -> CallEndKey {
    CallEndKey {
        call_id: request.call_id,
        user_id: request.user_id,
    }
}

/// Returns whether calls has answered, if only with a refusal or a bug, which a repetition does not change.
fn is_answer(answered: &Result<EndCallResponse, Error>) -> bool {
    !matches!(
        answered.as_ref().map_err(Error::kind),
        Err(ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
    )
}

async fn repeat_all(pending: PendingCallEnds) -> anyhow::Result<NextTurnStart> {
    let unattended = stream::iter(pending.list_unattended());
    unattended
        .for_each_concurrent(CONCURRENT_REPEATS_MAX, |(request, token)| {
            grpc::with_user_token(token, pending.repeat(request))
        })
        .await;
    Ok(if pending.lock().is_empty() {
        NextTurnStart::AfterInterval
    } else {
        NextTurnStart::After(REPEAT_EVERY)
    })
}
