//! Minutes that are charged one by one share requests to the wallet.

use talktime_kit::Error;
use talktime_kit::group::{Member, Work};
use talktime_proto::wallet::v1::ChargeRequest;

use super::Calls;
use super::together::{in_time, traced};
use crate::domain::call::Call;
use crate::domain::steps::Charge;
use crate::peers::{Peers, charge_request};

/// Charges in groups.
pub(super) struct Charging {
    pub(super) peers: Peers,
}

impl Work for Charging {
    type Task = ChargeRequest;
    type Answer = Charge;
    type Error = Error;

    async fn work(&self, group: &[Member<ChargeRequest>]) -> Result<Vec<Charge>, Error> {
        let charges = traced(group, |charge, traceparent| ChargeRequest {
            traceparent,
            ..charge
        });
        in_time(self.peers.charge(charges)).await
    }

    fn is_everyones(error: &Error) -> bool {
        error.is_unreachable()
    }
}

impl Calls {
    /// Charges a minute of a call, from 1.
    pub(super) async fn charge(&self, call: &Call, minute: i32) -> Result<Charge, Error> {
        self.together
            .charging
            .ask(charge_request(call, minute))
            .await
    }
}
