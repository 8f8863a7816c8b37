//! Clients of profile, presence and wallet; cheap to clone.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector, retry_idempotent};
use talktime_proto::access::v1::Workload;
use talktime_proto::datetime;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::presence::v1::{
    CallChange, FollowCallsRequest, GetStatusesRequest, Status as PersonStatus,
};
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{CallCheck, CheckCallsRequest, PlannedCall};
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use talktime_proto::wallet::v1::{
    ChargeBatchRequest, ChargeRequest, GetBalanceRequest, ListCoinsRequest, SettleBatchRequest,
    SettleCallRequest, SettleCallResponse, VoidChargeRequest,
};

use crate::config::PeerAddressConfig;
use crate::domain::call::{Call, PlannedParties};
use crate::domain::evidence::MinuteReturns;
use crate::domain::steps::MinuteChargeOutcome;

/// Clients of the peers; cheap to clone.
#[derive(Clone)]
pub struct PeerClients {
    profile: ProfileServiceClient<PeerChannel>,
    presence: PresenceServiceClient<PeerChannel>,
    wallet: WalletServiceClient<PeerChannel>,
}

impl PeerClients {
    pub(crate) fn connect(
        peers: &PeerConnector,
        config: &PeerAddressConfig,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            profile: ProfileServiceClient::new(peers.connect(Workload::Profile, &config.profile)?),
            presence: PresenceServiceClient::new(
                peers.connect(Workload::Presence, &config.presence)?,
            ),
            wallet: WalletServiceClient::new(peers.connect(Workload::Wallet, &config.wallet)?),
        })
    }

    /// Checks whether callers may call listeners, and returns their names. The results have the order of the
    /// calls.
    pub(crate) async fn check_calls(
        &self,
        planned: &[PlannedParties],
    ) -> Result<Vec<CallCheck>, Error> {
        let calls = planned.iter().map(|parties| PlannedCall {
            caller_id: parties.caller_id,
            listener_id: parties.listener_id,
        });
        let request = CheckCallsRequest {
            calls: calls.collect(),
        };
        let checked =
            retry_idempotent(&self.profile, ProfileServiceClient::check_calls, request).await?;
        match_answers(planned.len(), checked.checks)
    }

    /// Returns the statuses of users by their ids. A user without a status has never been online and is left
    /// out.
    pub(crate) async fn load_statuses_by_user(
        &self,
        user_ids: Vec<i64>,
    ) -> Result<HashMap<i64, PersonStatus>, Error> {
        let found = self.load_statuses(user_ids).await?.into_iter();
        Ok(found.map(|status| (status.user_id, status)).collect())
    }

    /// Returns the time of the last sign of life of each user. Users without a status are left out.
    pub(crate) async fn load_last_signs(
        &self,
        user_ids: Vec<i64>,
    ) -> Result<HashMap<i64, DateTime<Utc>>, Error> {
        let found = self.load_statuses(user_ids).await?.into_iter();
        Ok(found
            .filter_map(|status| Some((status.user_id, datetime(status.last_seen.as_ref())?)))
            .collect())
    }

    async fn load_statuses(&self, user_ids: Vec<i64>) -> Result<Vec<PersonStatus>, Error> {
        let request = GetStatusesRequest { user_ids };
        let found =
            retry_idempotent(&self.presence, PresenceServiceClient::get_statuses, request).await?;
        Ok(found.statuses)
    }

    /// Sends starts and ends of calls, without retries: events deliver them too.
    pub(crate) async fn send_call_changes(&self, changes: Vec<CallChange>) -> Result<(), Error> {
        let mut presence = self.presence.clone();
        presence
            .follow_calls(FollowCallsRequest { changes })
            .await?;
        Ok(())
    }

    /// Returns the coins of a user.
    pub(crate) async fn load_balance_coins(&self, user_id: i64) -> Result<i64, Error> {
        let balance = retry_idempotent(
            &self.wallet,
            WalletServiceClient::get_balance,
            GetBalanceRequest { user_id },
        )
        .await?;
        Ok(balance.balance_coins)
    }

    /// Returns the coins of users by their ids. Users without a wallet are left out.
    pub(crate) async fn load_coins_by_user(
        &self,
        user_ids: Vec<i64>,
    ) -> Result<HashMap<i64, i64>, Error> {
        if user_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let request = ListCoinsRequest { user_ids };
        let listed =
            retry_idempotent(&self.wallet, WalletServiceClient::list_coins, request).await?;
        let wallets = listed.wallets.into_iter();
        Ok(wallets
            .map(|wallet| (wallet.user_id, wallet.balance_coins))
            .collect())
    }

    /// Charges minutes. Each has its own outcome, in the order of the charges.
    pub(crate) async fn charge_minutes(
        &self,
        charges: Vec<ChargeRequest>,
    ) -> Result<Vec<MinuteChargeOutcome>, Error> {
        let requested = charges.len();
        let request = ChargeBatchRequest { charges };
        let response =
            retry_idempotent(&self.wallet, WalletServiceClient::charge_batch, request).await?;
        let outcomes = response.outcomes.into_iter();
        let charges = outcomes.filter_map(|each| each.outcome.map(charge_outcome));
        match_answers(requested, charges.collect())
    }

    /// Voids the charge of the first minute of a call, or forbids it if it has not happened.
    pub(crate) async fn void_first_minute(&self, call: &Call) -> Result<(), Error> {
        let request = VoidChargeRequest {
            call_id: call.call_id,
            minute: 1,
            user_id: call.user_id,
        };
        retry_idempotent(&self.wallet, WalletServiceClient::void_charge, request).await?;
        Ok(())
    }

    /// Settles calls; the results have their order.
    pub(crate) async fn settle_calls(
        &self,
        settlements: Vec<SettleCallRequest>,
    ) -> Result<Vec<SettleCallResponse>, Error> {
        let requested = settlements.len();
        let request = SettleBatchRequest { settlements };
        let response =
            retry_idempotent(&self.wallet, WalletServiceClient::settle_batch, request).await?;
        match_answers(requested, response.settled)
    }
}

/// Refuses a response with more or fewer answers than items.
fn match_answers<Answer>(asked: usize, answers: Vec<Answer>) -> Result<Vec<Answer>, Error> {
    if answers.len() == asked {
        Ok(answers)
    } else {
        Err(Error::internal(
            "a peer returned a different number of results than requested",
        ))
    }
}

/// Builds the charge of a minute, from 1.
pub(crate) fn build_charge_request(call: &Call, minute: i32) -> ChargeRequest {
    ChargeRequest {
        call_id: call.call_id,
        minute,
        user_id: call.user_id,
        coins: call.coins_per_minute,
        ..ChargeRequest::default()
    }
}

/// Builds the settlement of a call of which `minutes` minutes count.
pub(crate) fn build_settle_request(
    call: &Call,
    minutes: i32,
    returns: MinuteReturns,
) -> SettleCallRequest {
    SettleCallRequest {
        returned_minutes: returns.returned,
        unearned_minutes: returns.unearned,
        call_id: call.call_id,
        call_type: call.call_type.name().to_owned(),
        caller_id: call.user_id,
        listener_id: call.listener_id,
        minutes,
        listener_paise_per_minute: call.listener_paise_per_minute,
        ..SettleCallRequest::default()
    }
}

fn charge_outcome(outcome: Outcome) -> MinuteChargeOutcome {
    match outcome {
        Outcome::Charged(charged) => MinuteChargeOutcome::Paid {
            balance_coins: charged.balance_coins,
            bonus_coins: charged.bonus_coins,
        },
        Outcome::Insufficient(short) => MinuteChargeOutcome::Insufficient {
            required_coins: short.required_coins,
            available_coins: short.available_coins,
        },
        Outcome::Voided(_) => MinuteChargeOutcome::Voided,
    }
}
