//! Batchers for the steps that concurrent calls share. Each call waits for its own result, while the
//! database and the peers see one transaction or request for many calls.

use talktime_kit::batch::Batcher;

use super::batching::BATCH_LIMITS;
use super::presence_updates::PresenceNotifier;
use super::start_batch::StartBatchHandler;
use super::steps::charge::ChargeBatchHandler;
use super::steps::check::CheckBatchHandler;
use super::steps::end::EndBatchHandler;
use super::steps::go_live::GoLiveBatchHandler;
use super::steps::reserve::ReserveBatchHandler;
use super::steps::settle::SettleBatchHandler;
use crate::service_parts::CallServiceParts;

/// One batcher for each shared step; cheap to clone.
#[derive(Clone)]
pub(crate) struct StepBatchers {
    pub(crate) start: Batcher<StartBatchHandler>,
    pub(crate) end: Batcher<EndBatchHandler>,
    pub(crate) charge: Batcher<ChargeBatchHandler>,
    pub(crate) settle: Batcher<SettleBatchHandler>,
}

impl StepBatchers {
    /// Starts the batchers, which run until the last clone is dropped.
    pub(crate) fn start(parts: &CallServiceParts, presence: &PresenceNotifier) -> Self {
        let CallServiceParts {
            db,
            relay,
            clock,
            peers,
            terms,
            lifecycle,
            ..
        } = parts;
        let charge = || ChargeBatchHandler {
            peers: peers.clone(),
        };
        let start = StartBatchHandler {
            check: CheckBatchHandler {
                peers: peers.clone(),
            },
            reserve: ReserveBatchHandler { db: db.clone() },
            charge: charge(),
            go_live: GoLiveBatchHandler {
                db: db.clone(),
                relay: relay.clone(),
                clock: clock.clone(),
            },
            presence: presence.clone(),
        };
        let end = EndBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            limits: terms.limits,
            paise_per_coin: terms.paise_per_coin,
        };
        let settle = SettleBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            peers: peers.clone(),
            paise_per_coin: terms.paise_per_coin,
        };
        Self {
            start: Batcher::start(lifecycle, BATCH_LIMITS, start),
            end: Batcher::start(lifecycle, BATCH_LIMITS, end),
            charge: Batcher::start(lifecycle, BATCH_LIMITS, charge()),
            settle: Batcher::start(lifecycle, BATCH_LIMITS, settle),
        }
    }
}
