//! The settle step: pays listeners and closes ended calls.

use std::collections::HashMap;

use futures::future::OptionFuture;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{DatabasePool, DatabaseTransaction};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, Error, failpoint};
use talktime_proto::wallet::v1::{SettleCallRequest, SettleCallResponse};
use tokio::sync::Semaphore;

use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase, CallStatus};
use crate::events;
use crate::metrics;
use crate::peers::PeerClients;
use crate::saga::batching::{attach_traceparents, index_by_id, with_peer_deadline};
use crate::store::calls::{self, CallReceipt};

/// Transactions that begin while the wallet is asked: one at a time. After a failure all items of a batch are tried at once,
/// and would hold every connection while the wallet is silent.
static EARLY_BEGINS: Semaphore = Semaphore::const_new(1);

/// Settles a batch of ended calls: one request to the wallet, then one transaction.
pub(crate) struct SettleBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
    pub(crate) clock: Clock,
    pub(crate) peers: PeerClients,
    pub(crate) paise_per_coin: i64,
}

/// A call that is settled.
pub(crate) struct SettledCall {
    pub(crate) call: Call,
    /// Coins of the caller after the settlement.
    pub(crate) remaining_coins: i64,
}

impl BatchHandler for SettleBatchHandler {
    const NAME: &'static str = "settle";
    type Task = SettleCallRequest;
    type Answer = SettledCall;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<SettleCallRequest>],
    ) -> Result<Vec<SettledCall>, CallError> {
        let requests = attach_traceparents(group, |request, traceparent| SettleCallRequest {
            traceparent,
            ..request
        });
        // The transaction that follows begins while the wallet is asked, which saves its round trip. Before its first
        // statement it holds neither a lock nor a snapshot.
        let permit = EARLY_BEGINS.try_acquire().ok();
        let beginning = permit.as_ref().map(|_permit| self.db.begin());
        let settling = with_peer_deadline(self.peers.settle_calls(requests));
        let (settled, begun) = tokio::join!(settling, OptionFuture::from(beginning));
        let settled = settled?;
        drop(permit);
        failpoint::reach("calls.settle.settled");
        let tx = match begun {
            Some(begun) => begun?,
            None => self.db.begin().await?,
        };
        let closed = self.close_calls(tx, group, &settled).await?;
        failpoint::reach("calls.settle.closed");
        let closed = closed.into_iter().zip(settled);
        Ok(closed
            .map(|(call, settled)| SettledCall {
                call,
                remaining_coins: settled.caller_balance_coins,
            })
            .collect())
    }

    fn fails_whole_batch(error: &CallError) -> bool {
        matches!(error, CallError::Other(error) if error.is_unreachable())
    }
}

impl SettleBatchHandler {
    fn build_receipt(
        &self,
        request: &SettleCallRequest,
        settled: &SettleCallResponse,
    ) -> CallReceipt {
        CallReceipt {
            minutes: request.minutes,
            coins_spent: settled.coins_spent,
            user_paise_spent: settled.coins_spent * self.paise_per_coin,
            listener_paise_earned: settled.listener_paise_earned,
        }
    }

    /// Writes the receipts and publishes the ends whose figures were uncertain before. If another replica
    /// closed a call first, its receipt has the same figures, since the wallet settles a call only once.
    async fn close_calls(
        &self,
        mut tx: DatabaseTransaction,
        group: &[BatchItem<SettleCallRequest>],
        settled: &[SettleCallResponse],
    ) -> Result<Vec<Call>, CallError> {
        let receipts = group.iter().zip(settled);
        let receipts: Vec<(i64, CallReceipt)> = receipts
            .map(|(member, settled)| {
                (
                    member.task.call_id,
                    self.build_receipt(&member.task, settled),
                )
            })
            .collect();
        let mut closed = index_by_id(calls::close_settled(&mut tx, &receipts).await?);
        outbox::append_traced(
            &mut tx,
            self.clock.now(),
            build_end_events(group, settled, &closed),
        )
        .await?;
        let published = closed.values();
        let published = published.filter(|call| call.figures_follow_settlement);
        let published: Vec<CallStatus> = published.map(|call| call.status).collect();
        let mut calls_settled = Vec::with_capacity(receipts.len());
        for (call_id, _) in receipts {
            let call = match closed.remove(&call_id) {
                Some(call) => Some(call),
                None => calls::find(&mut tx, call_id).await?,
            };
            let settled = call.filter(|call| call.phase == CallPhase::Settled);
            calls_settled.push(settled.ok_or_else(|| {
                Error::internal("an ended call is neither settling nor settled in calls.user_calls")
            })?);
        }
        failpoint::reach("calls.settle.before_closed");
        tx.commit().await?;
        if !published.is_empty() {
            self.relay.wake();
        }
        published.into_iter().for_each(metrics::record_ended);
        Ok(calls_settled)
    }
}

/// Builds the end events of calls whose figures have just become certain: one for each call, however many
/// requests asked for its settlement.
fn build_end_events(
    group: &[BatchItem<SettleCallRequest>],
    settled: &[SettleCallResponse],
    closed: &HashMap<i64, Call>,
) -> Vec<outbox::TracedEvent> {
    let certain_now = closed.values();
    let certain_now = certain_now.filter(|call| call.figures_follow_settlement);
    certain_now
        .filter_map(|call| {
            let mut settled = group.iter().zip(settled);
            let (member, settled) =
                settled.find(|(member, _)| member.task.call_id == call.call_id)?;
            let event = events::call_ended(call, Some(settled.caller_balance_coins));
            Some((event, member.traceparent.clone()))
        })
        .collect()
}
