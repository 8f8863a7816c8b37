//! The steps of the saga that many calls take in one transaction: each call waits for its own, and the
//! database sees one for many.

use std::collections::HashMap;

use sqlx::PgPool;
use talktime_kit::Clock;
use talktime_kit::group::{Groups, Limits};
use talktime_kit::messaging::Relay;

use super::end_live::EndingLive;
use super::go_live::GoingLive;
use super::settle::Closing;
use crate::domain::call::Call;
use crate::domain::steps;

const LIMITS: Limits = Limits {
    members_max: 64,
    at_once: 2,
    waiting_max: 4_096,
};

/// Where calls are handed in for such a step; cheap to clone.
#[derive(Clone)]
pub struct Together {
    pub(super) going_live: Groups<GoingLive>,
    pub(super) ending_live: Groups<EndingLive>,
    pub(super) closing: Groups<Closing>,
}

impl Together {
    /// Takes calls until the last clone is gone.
    pub fn start(db: &PgPool, relay: &Relay, clock: &Clock, limits: steps::Limits) -> Self {
        let going_live = GoingLive {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
        };
        let ending_live = EndingLive {
            db: db.clone(),
            relay: relay.clone(),
            clock: clock.clone(),
            limits,
        };
        Self {
            going_live: Groups::start(LIMITS, going_live),
            ending_live: Groups::start(LIMITS, ending_live),
            closing: Groups::start(LIMITS, Closing { db: db.clone() }),
        }
    }
}

pub(super) fn by_id(calls: Vec<Call>) -> HashMap<i64, Call> {
    calls.into_iter().map(|call| (call.call_id, call)).collect()
}
