//! The charge step: concurrent charges of minutes share a request to the wallet.

use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_proto::wallet::v1::ChargeRequest;

use crate::domain::call::Call;
use crate::domain::steps::{MinuteChargeOutcome, PaidMinute};
use crate::peers::PeerClients;
use crate::saga::batching::{attach_traceparents, with_peer_deadline};

/// A reserved call whose first minute is paid.
pub(crate) struct ChargedCall {
    pub(crate) call: Call,
    pub(crate) minute: PaidMinute,
}

/// Charges a batch of minutes in one request to the wallet.
pub(crate) struct ChargeBatchHandler {
    pub(crate) peers: PeerClients,
}

impl BatchHandler for ChargeBatchHandler {
    const NAME: &'static str = "charge";
    type Task = ChargeRequest;
    type Answer = MinuteChargeOutcome;
    type Error = Error;

    async fn handle(
        &self,
        group: &[BatchItem<ChargeRequest>],
    ) -> Result<Vec<MinuteChargeOutcome>, Error> {
        let charges = attach_traceparents(group, |charge, traceparent| ChargeRequest {
            traceparent,
            ..charge
        });
        with_peer_deadline(self.peers.charge_minutes(charges)).await
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.is_unreachable()
    }
}
