//! Minutes that are charged one by one share requests to the wallet.

use talktime_kit::Error;
use talktime_kit::group::{Member, Work};
use talktime_proto::wallet::v1::ChargeRequest;

use super::CallService;
use super::step_batchers::{attach_traceparents, with_peer_deadline};
use crate::domain::call::Call;
use crate::domain::steps::ChargeOutcome;
use crate::peers::{PeerClients, build_charge_request};

/// Charges in groups.
pub(super) struct ChargeBatchHandler {
    pub(super) peers: PeerClients,
}

impl Work for ChargeBatchHandler {
    type Task = ChargeRequest;
    type Answer = ChargeOutcome;
    type Error = Error;

    async fn work(&self, group: &[Member<ChargeRequest>]) -> Result<Vec<ChargeOutcome>, Error> {
        let charges = attach_traceparents(group, |charge, traceparent| ChargeRequest {
            traceparent,
            ..charge
        });
        with_peer_deadline(self.peers.charge_minutes(charges)).await
    }

    fn is_everyones(error: &Error) -> bool {
        error.is_unreachable()
    }
}

impl CallService {
    /// Charges a minute of a call, from 1.
    pub(super) async fn charge_minute(
        &self,
        call: &Call,
        minute: i32,
    ) -> Result<ChargeOutcome, Error> {
        self.steps
            .charge
            .ask(build_charge_request(call, minute))
            .await
    }
}
