//! The wallet as other services see it.

use talktime_kit::grpc::server::refuse;
use talktime_kit::{Error, idempotency};
use talktime_proto::timestamp;
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_server::WalletService;
use talktime_proto::wallet::v1::{
    Balance, ChargeBatchRequest, ChargeBatchResponse, ChargeRequest, ChargeResponse, Charged,
    GetBalanceRequest, GetRateCardRequest, GetRateCardResponse, InsufficientCoins, RateCardStep,
    RechargeRequest, RechargeResponse, SettleCallRequest, SettleCallResponse, VoidChargeRequest,
    VoidChargeResponse, Voided,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::domain::payment::PaymentMethod;
use crate::domain::settlement::Settlement;
use crate::ledger::{self, Ledger, Recharge};

/// Charges that one request may bring.
const BATCH_CHARGES_MAX: usize = 1_000;

pub(crate) struct WalletApi {
    ledger: Ledger,
}

impl WalletApi {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    async fn charge_all(&self, requests: &[ChargeRequest]) -> Result<Vec<ChargeResponse>, Status> {
        if requests.len() > BATCH_CHARGES_MAX {
            return Err(refused(WalletError::OutOfRange("charges")));
        }
        let charges: Vec<Charge> = requests.iter().map(charge_of).collect();
        let outcomes = self.ledger.charge(&charges).await.map_err(refused)?;
        let answers = charges.iter().zip(outcomes);
        Ok(answers
            .map(|(charge, outcome)| charge_response(charge, outcome))
            .collect())
    }
}

#[tonic::async_trait]
impl WalletService for WalletApi {
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<Balance>, Status> {
        let user_id = request.into_inner().user_id;
        let balance = self.ledger.balance(user_id).await.map_err(refused)?;
        Ok(Response::new(Balance {
            user_id,
            balance_coins: balance.balance_coins,
            withdrawable_paise: balance.withdrawable_paise,
            total_earned_paise: balance.total_earned_paise,
            total_withdrawn_paise: balance.total_withdrawn_paise,
            pending_withdrawals_paise: balance.pending_withdrawals_paise,
        }))
    }

    async fn charge(
        &self,
        request: Request<ChargeRequest>,
    ) -> Result<Response<ChargeResponse>, Status> {
        let mut outcomes = self.charge_all(&[request.into_inner()]).await?;
        Ok(Response::new(outcomes.remove(0)))
    }

    async fn charge_batch(
        &self,
        request: Request<ChargeBatchRequest>,
    ) -> Result<Response<ChargeBatchResponse>, Status> {
        let outcomes = self.charge_all(&request.into_inner().charges).await?;
        Ok(Response::new(ChargeBatchResponse { outcomes }))
    }

    async fn void_charge(
        &self,
        request: Request<VoidChargeRequest>,
    ) -> Result<Response<VoidChargeResponse>, Status> {
        let VoidChargeRequest {
            call_id,
            minute,
            user_id,
        } = request.into_inner();
        let returned_coins = self
            .ledger
            .void(call_id, minute, user_id)
            .await
            .map_err(refused)?;
        Ok(Response::new(VoidChargeResponse { returned_coins }))
    }

    async fn settle_call(
        &self,
        request: Request<SettleCallRequest>,
    ) -> Result<Response<SettleCallResponse>, Status> {
        let request = request.into_inner();
        let settlement = Settlement {
            call_id: request.call_id,
            caller_id: request.caller_id,
            listener_id: request.listener_id,
            minutes: request.minutes,
            listener_paise_per_minute: request.listener_paise_per_minute,
        };
        let settled = self.ledger.settle(&settlement).await.map_err(refused)?;
        Ok(Response::new(SettleCallResponse {
            coins_spent: settled.coins_spent,
            listener_paise_earned: settled.listener_paise,
            caller_balance_coins: settled.caller_balance_coins,
        }))
    }

    async fn get_rate_card(
        &self,
        _request: Request<GetRateCardRequest>,
    ) -> Result<Response<GetRateCardResponse>, Status> {
        let steps = self.ledger.rate_card().steps().into_iter();
        let steps = steps.map(|(amount_paise, coins)| RateCardStep {
            amount_paise,
            coins,
        });
        Ok(Response::new(GetRateCardResponse {
            steps: steps.collect(),
        }))
    }

    async fn recharge(
        &self,
        request: Request<RechargeRequest>,
    ) -> Result<Response<RechargeResponse>, Status> {
        let recharge = recharge_of(request.into_inner()).map_err(refused)?;
        let recharged = self.ledger.recharge(&recharge).await.map_err(refused)?;
        Ok(Response::new(RechargeResponse {
            transaction_id: recharged.transaction_id,
            amount_paise: recharged.amount_paise,
            coins_added: recharged.coins_added,
            balance_coins: recharged.balance_coins,
            created_at: Some(timestamp(recharged.created_at)),
        }))
    }
}

fn refused(error: WalletError) -> Status {
    refuse(Error::from(error))
}

fn charge_of(request: &ChargeRequest) -> Charge {
    Charge {
        call_id: request.call_id,
        minute: request.minute,
        user_id: request.user_id,
        coins: request.coins,
    }
}

fn charge_response(charge: &Charge, outcome: ledger::Outcome) -> ChargeResponse {
    let outcome = match outcome {
        ledger::Outcome::Charged {
            transaction_id,
            balance_coins,
        } => Outcome::Charged(Charged {
            transaction_id,
            balance_coins,
        }),
        ledger::Outcome::Insufficient { available_coins } => {
            Outcome::Insufficient(InsufficientCoins {
                required_coins: charge.coins,
                available_coins,
            })
        }
        ledger::Outcome::Voided => Outcome::Voided(Voided {}),
    };
    ChargeResponse {
        outcome: Some(outcome),
    }
}

fn recharge_of(request: RechargeRequest) -> Result<Recharge, WalletError> {
    let payment_method = PaymentMethod::parse(&request.payment_method)?;
    let idempotency = request
        .idempotency_key
        .map(|key| {
            let body = (
                request.amount_paise,
                &request.payment_method,
                &request.payment_id,
            );
            idempotency::Request::new(request.user_id, "POST /calls/recharge", key, &body)
        })
        .transpose()?;
    Ok(Recharge {
        user_id: request.user_id,
        amount_paise: request.amount_paise,
        payment_method,
        payment_id: request.payment_id,
        fresh_id: Uuid::now_v7().simple().to_string(),
        idempotency,
    })
}
