//! Batchers for the steps that concurrent calls share. Each call waits for its own result, while the
//! database and the peers see one transaction or request for many calls.

use talktime_kit::group::Groups;

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
    pub(crate) start: Groups<StartBatchHandler>,
    pub(crate) end: Groups<EndBatchHandler>,
    pub(crate) charge: Groups<ChargeBatchHandler>,
    pub(crate) settle: Groups<SettleBatchHandler>,
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
            start: Groups::start(BATCH_LIMITS, start),
            end: Groups::start(BATCH_LIMITS, end),
            charge: Groups::start(BATCH_LIMITS, charge()),
            settle: Groups::start(BATCH_LIMITS, settle),
        }
    }
}
