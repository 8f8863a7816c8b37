//! The reserve step of accepts: reserves ringing calls, each for the session of the listener that accepts it.

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::DatabasePool;

use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::ringing::{self, AcceptRingDecision};
use crate::saga::batching::index_by_id;
use crate::saga::bounds::LEASE_SECS;
use crate::saga::requests::AcceptRingRequest;
use crate::store::{calls, rings, unanswered_streaks};

/// Reserves a batch of ringing calls in one transaction.
pub(crate) struct ReserveRingBatchHandler {
    pub(crate) db: DatabasePool,
}

impl BatchHandler for ReserveRingBatchHandler {
    const NAME: &'static str = "reserve_ring";
    type Task = AcceptRingRequest;
    /// The reserved call, or the call as it is if the session has accepted it before.
    type Answer = Result<Call, CallError>;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<AcceptRingRequest>],
    ) -> Result<Vec<Self::Answer>, CallError> {
        let call_ids: Vec<i64> = group.iter().map(|member| member.task.call_id).collect();
        let mut tx = self.db.begin().await?;
        // Rows are locked in the order of their ids, as when rings end, so the first of both wins.
        let mut calls = index_by_id(calls::lock_by_ids(&mut tx, &call_ids).await?);
        let mut accepted: Vec<(i64, &str)> = Vec::new();
        let mut listener_ids = Vec::new();
        let mut refusals = Vec::with_capacity(group.len());
        for BatchItem { task, .. } in group {
            let Some(call) = calls.get_mut(&task.call_id) else {
                refusals.push(Some(CallError::NoSuchCall));
                continue;
            };
            refusals.push(match ringing::evaluate_accept(call, &task.session_id) {
                AcceptRingDecision::Accept => {
                    accepted.push((call.call_id, &task.session_id));
                    listener_ids.push(call.listener_id);
                    // Another device in this batch finds the call taken.
                    call.phase = CallPhase::Reserving;
                    call.accepted_session = Some(task.session_id.clone());
                    None
                }
                AcceptRingDecision::Repeat => None,
                AcceptRingDecision::Refuse(error) => Some(error),
            });
        }
        let reserved = rings::begin_accepts(&mut tx, &accepted, LEASE_SECS).await?;
        calls.extend(index_by_id(reserved));
        unanswered_streaks::reset(&mut tx, &listener_ids).await?;
        tx.commit().await?;
        let answers = call_ids.iter().zip(refusals);
        Ok(answers
            .map(|(call_id, refusal)| match refusal {
                Some(error) => Err(error),
                None => calls.get(call_id).cloned().ok_or(CallError::NoSuchCall),
            })
            .collect())
    }
}
