//! The gRPC interface of the wallet.

mod convert;
mod payouts;
mod purchases;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_kit::paging::ListPageRequest;
use talktime_proto::wallet::v1 as pb;
use talktime_proto::wallet::v1::wallet_service_server::WalletService;
use tonic::{Request, Response, Status};

use crate::domain::WalletError;
use crate::domain::earning_days::parse_date;
use crate::domain::history::TransactionHistoryFilter;
use crate::domain::withdrawal;
use crate::ledger::{BalanceReader, RechargeProcessor, WalletLedger};

/// Maximum number of charges, settlements or users in one request.
const BATCH_MAX: usize = 1_000;

pub(crate) struct WalletGrpcApi {
    ledger: WalletLedger,
    balances: BalanceReader,
    recharges: RechargeProcessor,
}

impl WalletGrpcApi {
    pub(crate) fn new(
        ledger: WalletLedger,
        balances: BalanceReader,
        recharges: RechargeProcessor,
    ) -> Self {
        Self {
            ledger,
            balances,
            recharges,
        }
    }

    async fn charge_all(
        &self,
        requests: &[pb::ChargeRequest],
    ) -> Result<Vec<pb::ChargeResponse>, Status> {
        if requests.len() > BATCH_MAX {
            return Err(to_status(WalletError::OutOfRange("charges")));
        }
        let charges: Vec<_> = requests.iter().map(convert::parse_traced_charge).collect();
        let outcomes = self.ledger.charge_minutes(&charges).await;
        let answers = charges.iter().zip(outcomes.map_err(to_status)?);
        Ok(answers
            .map(|(charge, outcome)| convert::charge_response(&charge.request, outcome))
            .collect())
    }

    async fn settle_all(
        &self,
        requests: &[pb::SettleCallRequest],
    ) -> Result<Vec<pb::SettleCallResponse>, Status> {
        if requests.len() > BATCH_MAX {
            return Err(to_status(WalletError::OutOfRange("settlements")));
        }
        let settlements = requests.iter().map(convert::parse_traced_settlement);
        let settlements: Vec<_> = settlements.collect::<Result<_, _>>().map_err(to_status)?;
        let settled = self.ledger.settle_calls(&settlements).await;
        let settled = settled.map_err(to_status)?;
        Ok(settled.into_iter().map(convert::settle_response).collect())
    }
}

#[tonic::async_trait]
impl WalletService for WalletGrpcApi {
    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::Balance>, Status> {
        let user_id = request.into_inner().user_id;
        let balance = self.balances.load_balance(user_id).await;
        let balance = balance.map_err(to_status)?;
        Ok(Response::new(convert::balance_message(user_id, balance)))
    }

    async fn list_coins(
        &self,
        request: Request<pb::ListCoinsRequest>,
    ) -> Result<Response<pb::ListCoinsResponse>, Status> {
        let user_ids = request.into_inner().user_ids;
        if user_ids.len() > BATCH_MAX {
            return Err(to_status(WalletError::OutOfRange("user_ids")));
        }
        let listed = self.ledger.list_coins(&user_ids).await.map_err(to_status)?;
        let wallets = listed.into_iter();
        let wallets = wallets.map(|wallet| pb::CoinWallet {
            user_id: wallet.user_id,
            balance_coins: wallet.balance_coins,
        });
        Ok(Response::new(pb::ListCoinsResponse {
            wallets: wallets.collect(),
        }))
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
            .void_charge(call_id, minute, user_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(pb::VoidChargeResponse { returned_coins }))
    }

    async fn settle_batch(
        &self,
        request: Request<pb::SettleBatchRequest>,
    ) -> Result<Response<pb::SettleBatchResponse>, Status> {
        let settled = self.settle_all(&request.into_inner().settlements).await?;
        Ok(Response::new(pb::SettleBatchResponse { settled }))
    }

    async fn get_rate_card(
        &self,
        _request: Request<pb::GetRateCardRequest>,
    ) -> Result<Response<pb::GetRateCardResponse>, Status> {
        let steps = self.ledger.rate_card().steps().into_iter();
        let steps = steps.map(|step| pb::RateCardStep {
            amount_paise: step.amount_paise,
            coins: step.coins,
        });
        Ok(Response::new(pb::GetRateCardResponse {
            steps: steps.collect(),
        }))
    }

    async fn recharge(
        &self,
        request: Request<pb::RechargeRequest>,
    ) -> Result<Response<pb::RechargeResponse>, Status> {
        let recharge = purchases::parse_recharge(request.into_inner()).map_err(to_status)?;
        let recharged = self.recharges.redeem_recharge(recharge).await;
        let recharged = recharged.map_err(to_status)?;
        Ok(Response::new(purchases::recharge_response(&recharged)))
    }

    async fn open_order(
        &self,
        request: Request<pb::OpenOrderRequest>,
    ) -> Result<Response<pb::OpenOrderResponse>, Status> {
        let pb::OpenOrderRequest {
            user_id,
            amount_paise,
        } = request.into_inner();
        let fresh_id = purchases::generate_fresh_id();
        let opened = self.ledger.open_order(user_id, amount_paise, &fresh_id);
        let opened = opened.await.map_err(to_status)?;
        Ok(Response::new(purchases::open_order_response(opened)))
    }

    async fn add_coins(
        &self,
        request: Request<pb::AddCoinsRequest>,
    ) -> Result<Response<pb::RechargeResponse>, Status> {
        let purchase = purchases::parse_coin_purchase(request.into_inner()).map_err(to_status)?;
        let bought = self.ledger.redeem_recharge(&purchase).await;
        let bought = bought.map_err(to_status)?;
        Ok(Response::new(purchases::recharge_response(&bought)))
    }

    async fn give_coins(
        &self,
        request: Request<pb::GiveCoinsRequest>,
    ) -> Result<Response<pb::RechargeResponse>, Status> {
        let gift = purchases::parse_coin_gift(request.into_inner()).map_err(to_status)?;
        let given = self.ledger.give_bonus(&gift).await.map_err(to_status)?;
        Ok(Response::new(purchases::recharge_response(&given)))
    }

    async fn receive_payment_notice(
        &self,
        request: Request<pb::ReceivePaymentNoticeRequest>,
    ) -> Result<Response<pb::ReceivePaymentNoticeResponse>, Status> {
        let notice = request.into_inner();
        self.ledger
            .handle_payment_notice(&notice.body, &notice.signature, &notice.event_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(pb::ReceivePaymentNoticeResponse {}))
    }

    async fn set_bank_details(
        &self,
        request: Request<pb::SetBankDetailsRequest>,
    ) -> Result<Response<pb::SetBankDetailsResponse>, Status> {
        let request = request.into_inner();
        let details = payouts::parse_bank_details(&request).map_err(to_status)?;
        let kept = self.ledger.set_bank_details(request.user_id, &details);
        kept.await.map_err(to_status)?;
        Ok(Response::new(pb::SetBankDetailsResponse {}))
    }

    async fn get_bank_details(
        &self,
        request: Request<pb::GetBankDetailsRequest>,
    ) -> Result<Response<pb::GetBankDetailsResponse>, Status> {
        let found = self
            .ledger
            .find_bank_details(request.into_inner().user_id)
            .await;
        Ok(Response::new(pb::GetBankDetailsResponse {
            details: found
                .map_err(to_status)?
                .map(payouts::masked_details_message),
        }))
    }

    async fn withdraw(
        &self,
        request: Request<pb::WithdrawRequest>,
    ) -> Result<Response<pb::WithdrawResponse>, Status> {
        let withdrawal =
            payouts::parse_withdrawal_request(request.into_inner()).map_err(to_status)?;
        let held = self
            .ledger
            .request_withdrawal(&withdrawal)
            .await
            .map_err(to_status)?;
        Ok(Response::new(payouts::withdraw_response(&held)))
    }

    async fn list_withdrawals(
        &self,
        request: Request<pb::ListWithdrawalsRequest>,
    ) -> Result<Response<pb::ListWithdrawalsResponse>, Status> {
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let listed = self.ledger.list_withdrawals(request.user_id, page).await;
        let (found, balance) = listed.map_err(to_status)?;
        let withdrawals = found.entries.into_iter().map(payouts::withdrawal_message);
        let withdrawals: Result<Vec<_>, WalletError> = withdrawals.collect();
        Ok(Response::new(pb::ListWithdrawalsResponse {
            withdrawals: withdrawals.map_err(to_status)?,
            total: found.total,
            total_withdrawn_paise: balance.total_withdrawn_paise,
            pending_paise: balance.pending_withdrawals_paise,
        }))
    }

    async fn review_withdrawals(
        &self,
        request: Request<pb::ReviewWithdrawalsRequest>,
    ) -> Result<Response<pb::ReviewWithdrawalsResponse>, Status> {
        let request = request.into_inner();
        let status = withdrawal::parse_status(&request.status).map_err(to_status)?;
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let found = self
            .ledger
            .list_for_review(status, page)
            .await
            .map_err(to_status)?;
        let withdrawals = found.entries.into_iter().map(payouts::review_message);
        let withdrawals: Result<Vec<_>, WalletError> = withdrawals.collect();
        Ok(Response::new(pb::ReviewWithdrawalsResponse {
            withdrawals: withdrawals.map_err(to_status)?,
            total: found.total,
        }))
    }

    async fn decide_withdrawal(
        &self,
        request: Request<pb::DecideWithdrawalRequest>,
    ) -> Result<Response<pb::ReviewedWithdrawal>, Status> {
        let request = request.into_inner();
        let withdrawal_id = request.withdrawal_id;
        let decision = payouts::parse_decision(&request).map_err(to_status)?;
        let decided = self
            .ledger
            .decide_withdrawal(withdrawal_id, &decision)
            .await;
        let message = decided.and_then(payouts::review_message);
        Ok(Response::new(message.map_err(to_status)?))
    }

    async fn list_earnings(
        &self,
        request: Request<pb::ListEarningsRequest>,
    ) -> Result<Response<pb::ListEarningsResponse>, Status> {
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let listed = self.ledger.list_earnings(request.listener_id, page).await;
        let (found, totals) = listed.map_err(to_status)?;
        Ok(Response::new(pb::ListEarningsResponse {
            earnings: found
                .entries
                .into_iter()
                .map(convert::earning_message)
                .collect(),
            total_calls: totals.calls,
            total_coins: totals.coins,
            total_paise: totals.paise,
        }))
    }

    async fn get_earning_summary(
        &self,
        request: Request<pb::GetEarningSummaryRequest>,
    ) -> Result<Response<pb::EarningSummary>, Status> {
        let request = request.into_inner();
        let parse = |date: Option<String>| date.as_deref().map(parse_date).transpose();
        let from = parse(request.from_date).map_err(to_status)?;
        let to = parse(request.to_date).map_err(to_status)?;
        let summary = self
            .ledger
            .load_earning_summary(request.listener_id, from, to);
        let summary = summary.await.map_err(to_status)?;
        Ok(Response::new(convert::earning_summary_message(&summary)))
    }

    async fn list_transactions(
        &self,
        request: Request<pb::ListTransactionsRequest>,
    ) -> Result<Response<pb::ListTransactionsResponse>, Status> {
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let tx_type = request.tx_type.as_deref();
        let lines = if request.of_listener {
            TransactionHistoryFilter::for_listener(tx_type)
        } else {
            TransactionHistoryFilter::for_user(tx_type)
        };
        let lines = lines.map_err(to_status)?;
        let statement = self
            .ledger
            .load_statement(request.user_id, lines, page)
            .await;
        let statement = statement.map_err(to_status)?;
        Ok(Response::new(convert::transactions_response(
            request.user_id,
            statement,
        )))
    }

    async fn list_recharges(
        &self,
        request: Request<pb::ListRechargesRequest>,
    ) -> Result<Response<pb::ListRechargesResponse>, Status> {
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let listed = self.ledger.list_purchases(request.user_id, page).await;
        let (found, totals) = listed.map_err(to_status)?;
        Ok(Response::new(pb::ListRechargesResponse {
            recharges: found
                .entries
                .into_iter()
                .map(convert::purchase_message)
                .collect(),
            total: totals.purchases,
            total_paise: totals.paise,
            total_coins: totals.coins,
        }))
    }
}

fn to_status(error: WalletError) -> Status {
    refuse(Error::from(error))
}
