//! Histories, earnings and purchases as people see them.

use chrono::{NaiveDate, TimeDelta};
use futures::FutureExt;
use talktime_kit::paging::{ListPage, ListPageRequest};
use talktime_kit::partitions::find_month_begin;
use talktime_kit::{db, india};

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
use crate::store::{earnings, history_sums, payments, transactions};

/// Time after which every transaction of a month has ended, even if its clock was a little slow.
const SETTLED_AFTER: TimeDelta = TimeDelta::hours(1);

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

    /// Adds lines of months that are over to the sums of some histories; returns whether more may be left.
    pub async fn sum_histories(&self) -> Result<bool, WalletError> {
        let until = find_month_begin(self.clock.now() - SETTLED_AFTER);
        // The foreign keys of new marks lock their wallets until the commit, which does not wait for any lines.
        let mut tx = self.db.begin().await?;
        let has_new_marks = history_sums::add_marks(&mut tx).await?;
        tx.commit().await?;
        let mut tx = self.db.begin().await?;
        db::allow_full_scans(&mut tx).await?;
        let has_summed = history_sums::sum_lines(&mut tx, until).await?;
        tx.commit().await?;
        Ok(has_new_marks || has_summed)
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
