//! Histories of coins and rupees (contract, sections 6 and 7).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::wallet::v1::{
    Earning, ListEarningsRequest, ListRechargesRequest, ListTransactionsRequest,
    ListTransactionsResponse, Purchase, Transaction,
};
use utoipa::{IntoParams, ToSchema};

use crate::clients::WalletClient;
use crate::extract::{Json, ListenerUser, Query};
use crate::number::Hundredths;
use crate::openapi::values::{CallType, TxType};
use crate::paging::{ClientPageRequest, PageQuery, Pagination};
use crate::problem::Result;
use crate::routes::time;
use crate::token::CurrentUser;

/// The transactions in the answer of `/calls/balance`.
const RECENT_MAX: i32 = 10;

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct EarningsAnswer {
    earnings: Vec<EarningBody>,
    total_earnings: Hundredths,
    total_coins: i64,
    total_calls: i64,
    #[serde(flatten)]
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
struct EarningBody {
    call_id: i64,
    user_id: i64,
    coins_earned: i64,
    money_earned: Hundredths,
    duration_minutes: i32,
    #[schema(value_type = Option<CallType>)]
    call_type: Option<String>,
    created_at: Option<DateTime<Utc>>,
}

impl From<Earning> for EarningBody {
    fn from(earning: Earning) -> Self {
        Self {
            call_id: earning.call_id,
            user_id: earning.caller_id,
            coins_earned: earning.coins,
            money_earned: Hundredths(earning.paise),
            duration_minutes: earning.minutes,
            call_type: earning.call_type,
            created_at: time(earning.created_at),
        }
    }
}

/// List the current listener's earnings from calls, newest first.
#[utoipa::path(
    get,
    path = "/wallet/earnings",
    tag = "wallet",
    security(("access_token" = ["listener"])),
    params(PageQuery),
    responses(
        (status = 200, body = EarningsAnswer),
    )
)]
pub(in crate::routes) async fn list_earnings(
    State(wallet): State<WalletClient>,
    ListenerUser(current_user): ListenerUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<EarningsAnswer>> {
    let page = query.page()?;
    let request = ListEarningsRequest {
        listener_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
    };
    let found = retry_idempotent(&wallet, WalletClient::list_earnings, request).await?;
    Ok(Json(EarningsAnswer {
        earnings: found.earnings.into_iter().map(Into::into).collect(),
        total_earnings: Hundredths(found.total_paise),
        total_coins: found.total_coins,
        total_calls: found.total_calls,
        pagination: page.with_total(found.total_calls),
    }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::routes) struct TransactionHistoryQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    #[param(value_type = Option<TxType>, inline)]
    tx_type: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct TransactionsAnswer<Summary> {
    transactions: Vec<TransactionBody>,
    summary: Summary,
    current_balance: i64,
    #[serde(flatten)]
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
struct TransactionBody {
    transaction_id: i64,
    #[schema(value_type = TxType)]
    tx_type: String,
    coins_change: i64,
    money_change: Hundredths,
    description: String,
    call_id: Option<i64>,
    created_at: Option<DateTime<Utc>>,
}

impl From<Transaction> for TransactionBody {
    fn from(line: Transaction) -> Self {
        Self {
            transaction_id: line.transaction_id,
            tx_type: line.tx_type,
            coins_change: line.coins_change,
            money_change: Hundredths(line.paise_change),
            description: line.description,
            call_id: line.call_id,
            created_at: time(line.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[allow(
    clippy::struct_field_names,
    reason = "the names on the wire are the contract's"
)]
pub(in crate::routes) struct UserSummary {
    total_coins_spent: i64,
    total_money_spent: Hundredths,
    total_coins_earned: i64,
    total_money_earned: Hundredths,
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct ListenerSummary {
    total_coins_earned: i64,
    total_money_earned: Hundredths,
    total_withdrawn: Hundredths,
    available_balance: Hundredths,
}

/// Loads a page of a history.
async fn load_transactions(
    wallet: WalletClient,
    request: ListTransactionsRequest,
) -> Result<ListTransactionsResponse, Error> {
    retry_idempotent(&wallet, WalletClient::list_transactions, request).await
}

/// List the current user's transactions of coins and rupees, newest first.
#[utoipa::path(
    get,
    path = "/transactions/user",
    tag = "wallet",
    security(("access_token" = [])),
    params(TransactionHistoryQuery),
    responses(
        (status = 200, body = TransactionsAnswer<UserSummary>),
        (status = 400, description = "invalid_tx_type"),
    )
)]
pub(in crate::routes) async fn list_user_transactions(
    State(wallet): State<WalletClient>,
    current_user: CurrentUser,
    Query(query): Query<TransactionHistoryQuery>,
) -> Result<Json<TransactionsAnswer<UserSummary>>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let request = ListTransactionsRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
        tx_type: query.tx_type,
        of_listener: false,
    };
    let found = load_transactions(wallet, request).await?;
    Ok(Json(TransactionsAnswer {
        summary: UserSummary {
            total_coins_spent: found.total_coins_spent,
            total_money_spent: Hundredths(found.total_paise_spent),
            total_coins_earned: found.total_coins_earned,
            total_money_earned: Hundredths(found.total_paise_earned),
        },
        current_balance: found.balance.unwrap_or_default().balance_coins,
        pagination: page.with_total(found.total),
        transactions: found.transactions.into_iter().map(Into::into).collect(),
    }))
}

/// List the current listener's earnings and withdrawals, newest first.
#[utoipa::path(
    get,
    path = "/transactions/listener",
    tag = "wallet",
    security(("access_token" = ["listener"])),
    params(TransactionHistoryQuery),
    responses(
        (status = 200, body = TransactionsAnswer<ListenerSummary>),
        (status = 400, description = "invalid_tx_type"),
    )
)]
pub(in crate::routes) async fn list_listener_transactions(
    State(wallet): State<WalletClient>,
    ListenerUser(current_user): ListenerUser,
    Query(query): Query<TransactionHistoryQuery>,
) -> Result<Json<TransactionsAnswer<ListenerSummary>>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let request = ListTransactionsRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
        tx_type: query.tx_type,
        of_listener: true,
    };
    let found = load_transactions(wallet, request).await?;
    let balance = found.balance.unwrap_or_default();
    Ok(Json(TransactionsAnswer {
        summary: ListenerSummary {
            total_coins_earned: found.total_coins_earned,
            total_money_earned: Hundredths(found.total_paise_earned),
            total_withdrawn: Hundredths(balance.total_withdrawn_paise),
            available_balance: Hundredths(balance.withdrawable_paise),
        },
        current_balance: balance.balance_coins,
        pagination: page.with_total(found.total),
        transactions: found.transactions.into_iter().map(Into::into).collect(),
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = CoinsAnswer)]
pub(in crate::routes) struct CoinBalanceAnswer {
    user_id: i64,
    current_balance: i64,
    /// The rupees that a listener has earned, as in `/wallet/balance`.
    total_earned: Hundredths,
    /// The coins that the user has spent.
    total_spent: i64,
    recent_transactions: Vec<RecentTransactionBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RecentBody)]
struct RecentTransactionBody {
    transaction_id: i64,
    #[serde(rename = "type")]
    #[schema(value_type = TxType)]
    tx_type: String,
    /// The change in coins, or in rupees if no coins moved.
    amount: Hundredths,
    description: String,
    created_at: Option<DateTime<Utc>>,
}

impl From<Transaction> for RecentTransactionBody {
    fn from(line: Transaction) -> Self {
        let amount = if line.coins_change == 0 {
            Hundredths(line.paise_change)
        } else {
            Hundredths(line.coins_change.saturating_mul(100))
        };
        Self {
            transaction_id: line.transaction_id,
            tx_type: line.tx_type,
            amount,
            description: line.description,
            created_at: time(line.created_at),
        }
    }
}

/// Read the current user's coins and their latest transactions.
#[utoipa::path(
    get,
    path = "/calls/balance",
    tag = "wallet",
    security(("access_token" = [])),
    responses(
        (status = 200, body = CoinBalanceAnswer),
    )
)]
pub(in crate::routes) async fn read_coins(
    State(wallet): State<WalletClient>,
    current_user: CurrentUser,
) -> Result<Json<CoinBalanceAnswer>> {
    let request = ListTransactionsRequest {
        user_id: current_user.user_id,
        page: 1,
        per_page: RECENT_MAX,
        ..ListTransactionsRequest::default()
    };
    let found = load_transactions(wallet, request).await?;
    let balance = found.balance.unwrap_or_default();
    Ok(Json(CoinBalanceAnswer {
        user_id: current_user.user_id,
        current_balance: balance.balance_coins,
        total_earned: Hundredths(balance.total_earned_paise),
        total_spent: found.total_coins_spent,
        recent_transactions: found.transactions.into_iter().map(Into::into).collect(),
    }))
}

#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct RechargesAnswer {
    recharges: Vec<PurchaseBody>,
    pagination: Pagination,
    total_recharged: Hundredths,
    total_coins_added: i64,
    #[serde(flatten)]
    flat: Pagination,
}

#[derive(Serialize, ToSchema)]
struct PurchaseBody {
    recharge_id: i64,
    transaction_id: i64,
    /// The amount in rupees.
    amount_paid: Hundredths,
    /// The same as `amount_paid`.
    amount_rupees: Hundredths,
    coins_received: i64,
    /// The same as `coins_received`.
    coins_added: i64,
    payment_method: String,
    status: String,
    created_at: Option<DateTime<Utc>>,
}

impl From<Purchase> for PurchaseBody {
    fn from(purchase: Purchase) -> Self {
        Self {
            recharge_id: purchase.recharge_id,
            transaction_id: purchase.transaction_id,
            amount_paid: Hundredths(purchase.amount_paise),
            amount_rupees: Hundredths(purchase.amount_paise),
            coins_received: purchase.coins,
            coins_added: purchase.coins,
            payment_method: purchase.payment_method,
            status: purchase.status,
            created_at: time(purchase.created_at),
        }
    }
}

/// List the current user's purchases of coins, newest first.
#[utoipa::path(
    get,
    path = "/calls/recharge/history",
    tag = "wallet",
    security(("access_token" = [])),
    params(PageQuery),
    responses(
        (status = 200, body = RechargesAnswer),
    )
)]
pub(in crate::routes) async fn list_recharges(
    State(wallet): State<WalletClient>,
    current_user: CurrentUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<RechargesAnswer>> {
    let page = query.page()?;
    let request = ListRechargesRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
    };
    let found = retry_idempotent(&wallet, WalletClient::list_recharges, request).await?;
    let pagination = page.with_total(found.total);
    Ok(Json(RechargesAnswer {
        recharges: found.recharges.into_iter().map(Into::into).collect(),
        pagination,
        total_recharged: Hundredths(found.total_paise),
        total_coins_added: found.total_coins,
        flat: pagination,
    }))
}
