//! Batchers for the steps that concurrent calls share. Each call waits for its own result, while the
//! database and the peers see one transaction or request for many calls.

use talktime_kit::batch::{BatchLimits, Batcher};

use super::accept_batch::AcceptBatchHandler;
use super::batching::SAGA_LIMITS;
use super::presence_updates::CallPresenceNotifier;
use super::start_batch::StartBatchHandler;
use super::steps::charge::ChargeBatchHandler;
use super::steps::check::CheckBatchHandler;
use super::steps::check_caller::CallerCheckBatchHandler;
use super::steps::end::EndCallBatchHandler;
use super::steps::end_ring::EndRingBatchHandler;
use super::steps::go_live::GoLiveBatchHandler;
use super::steps::reserve::ReserveBatchHandler;
use super::steps::reserve_ring::ReserveRingBatchHandler;
use super::steps::settle::SettleBatchHandler;
use super::sweep_pace::SweepPace;
use crate::service_parts::CallServiceParts;
use crate::store::ring_limits::UnansweredRingLimits;

/// One batcher for each shared step; cheap to clone.
#[derive(Clone)]
pub(crate) struct SagaStepBatchers {
    pub(crate) start: Batcher<StartBatchHandler>,
    pub(crate) accept: Batcher<AcceptBatchHandler>,
    /// Calls that the platform's media has connected go live by themselves, since they are paid already.
    pub(crate) go_live: Batcher<GoLiveBatchHandler>,
    pub(crate) end: Batcher<EndCallBatchHandler>,
    pub(crate) end_ring: Batcher<EndRingBatchHandler>,
    pub(crate) charge: Batcher<ChargeBatchHandler>,
    pub(crate) settle: Batcher<SettleBatchHandler>,
}

impl SagaStepBatchers {
    /// Starts the batchers, which run until the last clone is dropped.
    pub(crate) fn start(
        parts: &CallServiceParts,
        presence: &CallPresenceNotifier,
        sweep_pace: &SweepPace,
    ) -> Self {
        let CallServiceParts {
            db,
            relay,
            clock,
            peers,
            terms,
            lifecycle,
            ..
        } = parts;
        let start = build_start_handler(parts, presence, sweep_pace);
        let accept = build_accept_handler(parts);
        let end = EndCallBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            limits: terms.limits,
            paise_per_coin: terms.paise_per_coin,
        };
        let end_ring = EndRingBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            limits: terms.limits,
            auto_pause_after: terms.ringing.auto_pause_after,
        };
        let settle = SettleBatchHandler {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            peers: peers.clone(),
            paise_per_coin: terms.paise_per_coin,
        };
        Self {
            start: Batcher::start(lifecycle, SAGA_LIMITS, start),
            accept: Batcher::start(lifecycle, SAGA_LIMITS, accept),
            go_live: Batcher::start(
                lifecycle,
                BatchLimits::ONE_AT_A_TIME,
                build_go_live_handler(parts),
            ),
            end: Batcher::start(lifecycle, BatchLimits::ONE_AT_A_TIME, end),
            end_ring: Batcher::start(lifecycle, BatchLimits::ONE_AT_A_TIME, end_ring),
            charge: Batcher::start(
                lifecycle,
                BatchLimits::ONE_AT_A_TIME,
                build_charge_handler(parts),
            ),
            settle: Batcher::start(lifecycle, BatchLimits::ONE_AT_A_TIME, settle),
        }
    }
}

fn build_start_handler(
    parts: &CallServiceParts,
    presence: &CallPresenceNotifier,
    sweep_pace: &SweepPace,
) -> StartBatchHandler {
    let ringing = &parts.terms.ringing;
    StartBatchHandler {
        check: CheckBatchHandler {
            peers: parts.peers.clone(),
        },
        reserve: ReserveBatchHandler {
            db: parts.db.clone(),
            relay: parts.relay.clone(),
            sweep_pace: sweep_pace.clone(),
            clock: parts.clock.clone(),
            ring_limits: UnansweredRingLimits {
                per_pair: ringing.rings_per_pair,
                per_caller: ringing.rings_per_caller,
                window_mins: ringing.window_mins,
            },
        },
        charge: build_charge_handler(parts),
        go_live: build_go_live_handler(parts),
        presence: presence.clone(),
    }
}

fn build_accept_handler(parts: &CallServiceParts) -> AcceptBatchHandler {
    AcceptBatchHandler {
        db: parts.db.clone(),
        check_caller: CallerCheckBatchHandler {
            peers: parts.peers.clone(),
        },
        reserve: ReserveRingBatchHandler {
            db: parts.db.clone(),
        },
        charge: build_charge_handler(parts),
        go_live: build_go_live_handler(parts),
        limits: parts.terms.limits,
    }
}

fn build_charge_handler(parts: &CallServiceParts) -> ChargeBatchHandler {
    ChargeBatchHandler {
        peers: parts.peers.clone(),
    }
}

fn build_go_live_handler(parts: &CallServiceParts) -> GoLiveBatchHandler {
    GoLiveBatchHandler {
        db: parts.db.clone(),
        relay: parts.relay.clone(),
        clock: parts.clock.clone(),
    }
}
