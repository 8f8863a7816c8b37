//! Minutes that are charged one by one share requests to the wallet.

use talktime_kit::Error;
use talktime_kit::group::{Member, Work};
use talktime_proto::wallet::v1::ChargeRequest;

use super::CallService;
use super::together::{in_time, traced};
use crate::domain::call::Call;
use crate::domain::steps::ChargeOutcome;
use crate::peers::{PeerClients, charge_request};

/// Charges in groups.
pub(super) struct ChargeBatchHandler {
    pub(super) peers: PeerClients,
}

impl Work for ChargeBatchHandler {
    type Task = ChargeRequest;
    type Answer = ChargeOutcome;
    type Error = Error;

    async fn work(&self, group: &[Member<ChargeRequest>]) -> Result<Vec<ChargeOutcome>, Error> {
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

impl CallService {
    /// Charges a minute of a call, from 1.
    pub(super) async fn charge(&self, call: &Call, minute: i32) -> Result<ChargeOutcome, Error> {
        self.together
            .charging
            .ask(charge_request(call, minute))
            .await
    }
}
