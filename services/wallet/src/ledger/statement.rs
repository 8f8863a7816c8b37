//! What people see of their wallets.

use super::Ledger;
use crate::domain::WalletError;
use crate::domain::history::{
    CallEarning, CoinPurchase, EarningTotals, HistoryFilter, HistoryLine, HistoryTotals, ListPage,
    PageRequest, PurchaseTotals,
};
use crate::store::wallets::{self, WalletBalance};
use crate::store::{earnings, payments, transactions};

/// A page of a history, and what the whole of it comes to.
#[derive(Clone, Debug)]
pub struct WalletStatement {
    /// The page.
    pub found: ListPage<HistoryLine>,
    /// Of the whole history, whatever the page.
    pub totals: HistoryTotals,
    /// What there is now.
    pub balance: WalletBalance,
}

impl Ledger {
    /// A page of a person's history.
    pub async fn load_statement(
        &self,
        user_id: i64,
        lines: HistoryFilter,
        page: PageRequest,
    ) -> Result<WalletStatement, WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(WalletStatement {
            found: transactions::list(&mut connection, user_id, lines, page).await?,
            totals: transactions::load_totals(&mut connection, user_id).await?,
            balance: wallets::load_balance(&mut connection, user_id).await?,
        })
    }

    /// A page of what calls brought a listener.
    pub async fn list_earnings(
        &self,
        listener_id: i64,
        page: PageRequest,
    ) -> Result<(ListPage<CallEarning>, EarningTotals), WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(earnings::list(&mut connection, listener_id, page).await?)
    }

    /// A page of what a person bought.
    pub async fn list_purchases(
        &self,
        user_id: i64,
        page: PageRequest,
    ) -> Result<(ListPage<CoinPurchase>, PurchaseTotals), WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(payments::list_purchases(&mut connection, user_id, page).await?)
    }
}
