//! The wallet as other services see it.

mod convert;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_proto::wallet::v1 as pb;
use talktime_proto::wallet::v1::wallet_service_server::WalletService;
use tonic::{Request, Response, Status};

use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::domain::history::{Lines, Page};
use crate::ledger::Ledger;

/// Charges that one request may bring.
const BATCH_CHARGES_MAX: usize = 1_000;

pub(crate) struct WalletApi {
    ledger: Ledger,
}

impl WalletApi {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    async fn charge_all(
        &self,
        requests: &[pb::ChargeRequest],
    ) -> Result<Vec<pb::ChargeResponse>, Status> {
        if requests.len() > BATCH_CHARGES_MAX {
            return Err(refused(WalletError::OutOfRange("charges")));
        }
        let charges: Vec<Charge> = requests.iter().map(convert::charge_of).collect();
        let outcomes = self.ledger.charge(&charges).await.map_err(refused)?;
        let answers = charges.iter().zip(outcomes);
        Ok(answers
            .map(|(charge, outcome)| convert::charge_response(charge, outcome))
            .collect())
    }
}

#[tonic::async_trait]
impl WalletService for WalletApi {
    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::Balance>, Status> {
        let user_id = request.into_inner().user_id;
        let balance = self.ledger.balance(user_id).await.map_err(refused)?;
        Ok(Response::new(convert::balance(user_id, balance)))
    }

    async fn charge(
        &self,
        request: Request<pb::ChargeRequest>,
    ) -> Result<Response<pb::ChargeResponse>, Status> {
        let mut outcomes = self.charge_all(&[request.into_inner()]).await?;
        Ok(Response::new(outcomes.remove(0)))
    }

    async fn charge_batch(
        &self,
        request: Request<pb::ChargeBatchRequest>,
    ) -> Result<Response<pb::ChargeBatchResponse>, Status> {
        let outcomes = self.charge_all(&request.into_inner().charges).await?;
        Ok(Response::new(pb::ChargeBatchResponse { outcomes }))
    }

    async fn void_charge(
        &self,
        request: Request<pb::VoidChargeRequest>,
    ) -> Result<Response<pb::VoidChargeResponse>, Status> {
        let pb::VoidChargeRequest {
            call_id,
            minute,
            user_id,
        } = request.into_inner();
        let returned_coins = self
            .ledger
            .void(call_id, minute, user_id)
            .await
            .map_err(refused)?;
        Ok(Response::new(pb::VoidChargeResponse { returned_coins }))
    }

    async fn settle_call(
        &self,
        request: Request<pb::SettleCallRequest>,
    ) -> Result<Response<pb::SettleCallResponse>, Status> {
        let settlement = convert::settlement_of(&request.into_inner()).map_err(refused)?;
        let settled = self.ledger.settle(&settlement).await.map_err(refused)?;
        Ok(Response::new(pb::SettleCallResponse {
            coins_spent: settled.coins_spent,
            listener_paise_earned: settled.listener_paise,
            caller_balance_coins: settled.caller_balance_coins,
        }))
    }

    async fn get_rate_card(
        &self,
        _request: Request<pb::GetRateCardRequest>,
    ) -> Result<Response<pb::GetRateCardResponse>, Status> {
        let steps = self.ledger.rate_card().steps().into_iter();
        let steps = steps.map(|(amount_paise, coins)| pb::RateCardStep {
            amount_paise,
            coins,
        });
        Ok(Response::new(pb::GetRateCardResponse {
            steps: steps.collect(),
        }))
    }

    async fn recharge(
        &self,
        request: Request<pb::RechargeRequest>,
    ) -> Result<Response<pb::RechargeResponse>, Status> {
        let recharge = convert::recharge_of(request.into_inner()).map_err(refused)?;
        let recharged = self.ledger.recharge(&recharge).await.map_err(refused)?;
        Ok(Response::new(convert::recharged(&recharged)))
    }

    async fn list_earnings(
        &self,
        request: Request<pb::ListEarningsRequest>,
    ) -> Result<Response<pb::ListEarningsResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page, request.per_page).map_err(refused)?;
        let listed = self.ledger.earnings(request.listener_id, page).await;
        let (found, totals) = listed.map_err(refused)?;
        Ok(Response::new(pb::ListEarningsResponse {
            earnings: found.entries.into_iter().map(convert::earning).collect(),
            total_calls: totals.calls,
            total_coins: totals.coins,
            total_paise: totals.paise,
        }))
    }

    async fn list_transactions(
        &self,
        request: Request<pb::ListTransactionsRequest>,
    ) -> Result<Response<pb::ListTransactionsResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page, request.per_page).map_err(refused)?;
        let tx_type = request.tx_type.as_deref();
        let lines = if request.of_listener {
            Lines::of_listener(tx_type)
        } else {
            Lines::of_user(tx_type)
        };
        let lines = lines.map_err(refused)?;
        let statement = self.ledger.statement(request.user_id, lines, page).await;
        let statement = statement.map_err(refused)?;
        Ok(Response::new(convert::statement(
            request.user_id,
            statement,
        )))
    }

    async fn list_recharges(
        &self,
        request: Request<pb::ListRechargesRequest>,
    ) -> Result<Response<pb::ListRechargesResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page, request.per_page).map_err(refused)?;
        let listed = self.ledger.purchases(request.user_id, page).await;
        let (found, totals) = listed.map_err(refused)?;
        Ok(Response::new(pb::ListRechargesResponse {
            recharges: found.entries.into_iter().map(convert::purchase).collect(),
            total: totals.purchases,
            total_paise: totals.paise,
            total_coins: totals.coins,
        }))
    }
}

fn refused(error: WalletError) -> Status {
    refuse(Error::from(error))
}
