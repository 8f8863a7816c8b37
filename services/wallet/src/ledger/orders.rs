//! Opening orders with the provider.

use chrono::{DateTime, Utc};

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::provider_payment::OrderBuyer;
use crate::store::payments::{self, FIRST_WAIT, NewPaymentOrder};

/// An order that is open with the provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenPaymentOrder {
    /// Its id at the provider.
    pub order_id: String,
    /// The provider's name.
    pub provider: &'static str,
    /// The price, in paise.
    pub amount_paise: i64,
    /// The coins that it buys.
    pub coins: i64,
    /// In the sandbox: the payment that pays it.
    pub payment_id: Option<String>,
    /// The public key that the app needs for the checkout.
    pub public_key: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl WalletLedger {
    /// Opens an order for a step of the rate card. If this process dies before the order is stored, nobody
    /// learns its id, so nobody can pay it.
    pub async fn open_order(
        &self,
        user_id: i64,
        amount_paise: i64,
        fresh_id: &str,
    ) -> Result<OpenPaymentOrder, WalletError> {
        let now = self.clock.now();
        let coins = self.terms.rate_card.coins_for(amount_paise)?;
        let buyer = OrderBuyer { user_id, coins };
        let opened = self.provider.open_order(fresh_id, amount_paise, buyer);
        let opened = opened.await?;
        let provider = self.provider.name();
        let order = NewPaymentOrder {
            order_id: &opened.order_id,
            user_id,
            provider,
            amount_paise,
            coins,
            payment_method: None,
            payment_id: opened.payment_id.as_deref(),
            // The sandbox has nothing more to report about an order.
            ask_at: opened.payment_id.is_none().then_some(now + FIRST_WAIT),
        };
        let mut tx = self.db.begin().await?;
        payments::insert(&mut tx, &order, now).await?;
        tx.commit().await?;
        Ok(OpenPaymentOrder {
            order_id: opened.order_id,
            provider,
            amount_paise,
            coins,
            payment_id: opened.payment_id,
            public_key: self.provider.public_key().map(ToOwned::to_owned),
            created_at: now,
        })
    }
}
