//! Histories, earnings and purchases as people see them.

use chrono::NaiveDate;
use talktime_kit::india;
use talktime_kit::paging::{ListPage, ListPageRequest};

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::earning_days::{EarningSummary, EarningSummaryPeriods};
use crate::domain::history::TransactionHistoryFilter;
pub use crate::store::earnings::CallEarningRow;
use crate::store::earnings::EarningTotals;
pub use crate::store::payments::CoinPurchase;
use crate::store::payments::CoinPurchaseTotals;
pub use crate::store::transactions::TransactionHistoryLine;
use crate::store::transactions::TransactionHistoryTotals;
use crate::store::wallets::{self, WalletBalance};
use crate::store::{earnings, payments, transactions};

/// A page of a history with the totals of the whole history.
#[derive(Clone, Debug)]
pub struct WalletStatement {
    /// The page.
    pub found: ListPage<TransactionHistoryLine>,
    /// Totals of the whole history, independent of the page.
    pub totals: TransactionHistoryTotals,
    /// The current balance.
    pub balance: WalletBalance,
}

impl WalletLedger {
    /// Loads a page of a person's history with its totals.
    pub async fn load_statement(
        &self,
        user_id: i64,
        lines: TransactionHistoryFilter,
        page: ListPageRequest,
    ) -> Result<WalletStatement, WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(WalletStatement {
            found: transactions::list(&mut connection, user_id, lines, page).await?,
            totals: transactions::load_totals(&mut connection, user_id).await?,
            balance: wallets::load_balance(&mut connection, user_id).await?,
        })
    }

    /// Lists a page of a listener's earnings.
    pub async fn list_earnings(
        &self,
        listener_id: i64,
        page: ListPageRequest,
    ) -> Result<(ListPage<CallEarningRow>, EarningTotals), WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(earnings::list(&mut connection, listener_id, page).await?)
    }

    /// Loads the earnings of a listener by day; see [`EarningSummaryPeriods::new`] for the range.
    pub async fn load_earning_summary(
        &self,
        listener_id: i64,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<EarningSummary, WalletError> {
        let periods = EarningSummaryPeriods::new(from, to, india::date(self.clock.now()))?;
        let mut connection = self.db.acquire().await?;
        let listed = earnings::list_days(&mut connection, listener_id, &periods.days).await?;
        let current = periods.current_days();
        let current = earnings::list_days(&mut connection, listener_id, &current).await?;
        Ok(periods.summarize(&listed, &current))
    }

    /// Lists a page of a person's purchases.
    pub async fn list_purchases(
        &self,
        user_id: i64,
        page: ListPageRequest,
    ) -> Result<(ListPage<CoinPurchase>, CoinPurchaseTotals), WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(payments::list_purchases(&mut connection, user_id, page).await?)
    }
}
