//! The services that a call is made of, as the calls service needs them.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use talktime_kit::grpc::client::{self, PeerChannel, retry_idempotent};
use talktime_kit::{Error, Kind};
use talktime_proto::datetime;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::presence::v1::{
    BeginCallRequest, EndCallRequest, GetStatusRequest, GetStatusesRequest,
};
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{CheckCallRequest, CheckCallResponse};
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use talktime_proto::wallet::v1::{
    ChargeBatchRequest, ChargeRequest, GetBalanceRequest, SettleCallRequest, SettleCallResponse,
    VoidChargeRequest,
};

use crate::config::PeersConfig;
use crate::domain::call::Call;
use crate::domain::steps::Charge;

/// Nobody waits longer for presence: the event that follows makes it good.
const PRESENCE_TIMEOUT: Duration = Duration::from_millis(300);

/// Clients of the peers; cheap to clone.
#[derive(Clone)]
pub struct Peers {
    profile: ProfileServiceClient<PeerChannel>,
    presence: PresenceServiceClient<PeerChannel>,
    wallet: WalletServiceClient<PeerChannel>,
}

impl Peers {
    pub(crate) fn connect(config: &PeersConfig) -> anyhow::Result<Self> {
        Ok(Self {
            profile: ProfileServiceClient::new(client::connect(&config.profile)?),
            presence: PresenceServiceClient::new(client::connect(&config.presence)?),
            wallet: WalletServiceClient::new(client::connect(&config.wallet)?),
        })
    }

    /// Whether one may call the other, and both names.
    pub(crate) async fn check_call(
        &self,
        caller_id: i64,
        listener_id: i64,
    ) -> Result<CheckCallResponse, Error> {
        let request = CheckCallRequest {
            caller_id,
            listener_id,
        };
        retry_idempotent(|| {
            let mut profile = self.profile.clone();
            async move { profile.check_call(request).await }
        })
        .await
    }

    /// Whether a person is online; someone without a status never was.
    pub(crate) async fn is_online(&self, user_id: i64) -> Result<bool, Error> {
        let status = retry_idempotent(|| {
            let mut presence = self.presence.clone();
            async move { presence.get_status(GetStatusRequest { user_id }).await }
        })
        .await;
        match status {
            Ok(status) => Ok(status.is_online),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When each party of these calls showed the last sign of life. Somebody without a status is left
    /// out.
    pub(crate) async fn last_signs(
        &self,
        calls: &[Call],
    ) -> Result<HashMap<i64, DateTime<Utc>>, Error> {
        let request = GetStatusesRequest {
            user_ids: calls.iter().flat_map(Call::parties).collect(),
        };
        let found = retry_idempotent(|| {
            let mut presence = self.presence.clone();
            let request = request.clone();
            async move { presence.get_statuses(request).await }
        })
        .await?;
        let statuses = found.statuses.into_iter();
        Ok(statuses
            .filter_map(|status| Some((status.user_id, datetime(status.last_seen.as_ref())?)))
            .collect())
    }

    /// Shows both as busy, if presence answers soon.
    pub(crate) async fn show_busy(&self, call: &Call, wait_time: i32) {
        let request = BeginCallRequest {
            call_id: call.call_id,
            user_ids: call.parties().to_vec(),
            wait_time,
        };
        let mut presence = self.presence.clone();
        at_best(async move { presence.begin_call(request).await.map(|_| ()) }).await;
    }

    /// Shows both as free, if presence answers soon.
    pub(crate) async fn show_free(&self, call: &Call) {
        let request = EndCallRequest {
            call_id: call.call_id,
            user_ids: call.parties().to_vec(),
        };
        let mut presence = self.presence.clone();
        at_best(async move { presence.end_call(request).await.map(|_| ()) }).await;
    }

    /// Coins of a person.
    pub(crate) async fn balance_coins(&self, user_id: i64) -> Result<i64, Error> {
        let balance = retry_idempotent(|| {
            let mut wallet = self.wallet.clone();
            async move { wallet.get_balance(GetBalanceRequest { user_id }).await }
        })
        .await?;
        Ok(balance.balance_coins)
    }

    /// Charges one minute of a call.
    pub(crate) async fn charge(&self, call: &Call, minute: i32) -> Result<Charge, Error> {
        let request = charge_request(call, minute);
        let response = retry_idempotent(|| {
            let mut wallet = self.wallet.clone();
            async move { wallet.charge(request).await }
        })
        .await?;
        let outcome = response.outcome.map(charge_of);
        outcome.ok_or_else(|| Error::internal("the wallet answered without an outcome"))
    }

    /// Charges the next minute of each call.
    pub(crate) async fn charge_next_minutes(&self, calls: &[Call]) -> Result<Vec<Charge>, Error> {
        let charges = calls
            .iter()
            .map(|call| charge_request(call, call.minutes_billed + 1));
        let request = ChargeBatchRequest {
            charges: charges.collect(),
        };
        let response = retry_idempotent(|| {
            let mut wallet = self.wallet.clone();
            let request = request.clone();
            async move { wallet.charge_batch(request).await }
        })
        .await?;
        let charges: Vec<Charge> = response
            .outcomes
            .into_iter()
            .filter_map(|each| each.outcome.map(charge_of))
            .collect();
        if charges.len() != calls.len() {
            return Err(Error::internal("the wallet answered with other charges"));
        }
        Ok(charges)
    }

    /// Undoes the charge of a call's first minute, or forbids it.
    pub(crate) async fn void_first_minute(&self, call: &Call) -> Result<(), Error> {
        let request = VoidChargeRequest {
            call_id: call.call_id,
            minute: 1,
            user_id: call.user_id,
        };
        retry_idempotent(|| {
            let mut wallet = self.wallet.clone();
            async move { wallet.void_charge(request).await }
        })
        .await?;
        Ok(())
    }

    /// Closes the books of a call.
    pub(crate) async fn settle(
        &self,
        call: &Call,
        minutes: i32,
    ) -> Result<SettleCallResponse, Error> {
        let request = SettleCallRequest {
            call_id: call.call_id,
            call_type: call.call_type.word().to_owned(),
            caller_id: call.user_id,
            listener_id: call.listener_id,
            minutes,
            listener_paise_per_minute: call.listener_paise_per_minute,
        };
        retry_idempotent(|| {
            let mut wallet = self.wallet.clone();
            let request = request.clone();
            async move { wallet.settle_call(request).await }
        })
        .await
    }
}

fn charge_request(call: &Call, minute: i32) -> ChargeRequest {
    ChargeRequest {
        call_id: call.call_id,
        minute,
        user_id: call.user_id,
        coins: call.coins_per_minute,
    }
}

fn charge_of(outcome: Outcome) -> Charge {
    match outcome {
        Outcome::Charged(charged) => Charge::Paid {
            balance_coins: charged.balance_coins,
        },
        Outcome::Insufficient(short) => Charge::Insufficient {
            required_coins: short.required_coins,
            available_coins: short.available_coins,
        },
        Outcome::Voided(_) => Charge::Voided,
    }
}

async fn at_best(call: impl Future<Output = Result<(), tonic::Status>>) {
    match tokio::time::timeout(PRESENCE_TIMEOUT, call).await {
        Ok(Ok(())) => {}
        Ok(Err(status)) => tracing::warn!(%status, "presence will learn it from the event"),
        Err(_elapsed) => tracing::warn!("presence will learn it from the event: no answer in time"),
    }
}
