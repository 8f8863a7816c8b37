//! Histories, earnings and purchases as people see them.

use chrono::NaiveDate;
use futures::FutureExt;
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
use crate::store::wallets::WalletBalance;
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
        let history = self.reads.read(move |connection| {
            let loading = async move {
                let found = transactions::list(connection, user_id, lines, page).await?;
                let totals = transactions::load_totals(connection, user_id).await?;
                Ok((found, totals))
            };
            loading.boxed()
        });
        let (found, totals) = history.await?;
        Ok(WalletStatement {
            found,
            totals,
            // Unlike the history, the balance is never that of a standby.
            balance: self.load_balance(user_id).await?,
        })
    }

    /// Lists a page of a listener's earnings.
    pub async fn list_earnings(
        &self,
        listener_id: i64,
        page: ListPageRequest,
    ) -> Result<(ListPage<CallEarningRow>, EarningTotals), WalletError> {
        let listed = self
            .reads
            .read(move |connection| earnings::list(connection, listener_id, page).boxed());
        Ok(listed.await?)
    }

    /// Loads the earnings of a listener by day; see [`EarningSummaryPeriods::new`] for the range.
    pub async fn load_earning_summary(
        &self,
        listener_id: i64,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<EarningSummary, WalletError> {
        let periods = EarningSummaryPeriods::new(from, to, india::date(self.clock.now()))?;
        let (listed_days, current_days) = (periods.days.clone(), periods.current_days());
        let days = self.reads.read(move |connection| {
            let (listed_days, current_days) = (listed_days.clone(), current_days.clone());
            let listing = async move {
                let listed = earnings::list_days(connection, listener_id, &listed_days).await?;
                let current = earnings::list_days(connection, listener_id, &current_days).await?;
                Ok((listed, current))
            };
            listing.boxed()
        });
        let (listed, current) = days.await?;
        Ok(periods.summarize(&listed, &current))
    }

    /// Lists a page of a person's purchases.
    pub async fn list_purchases(
        &self,
        user_id: i64,
        page: ListPageRequest,
    ) -> Result<(ListPage<CoinPurchase>, CoinPurchaseTotals), WalletError> {
        let listed = self
            .reads
            .read(move |connection| payments::list_purchases(connection, user_id, page).boxed());
        Ok(listed.await?)
    }
}
