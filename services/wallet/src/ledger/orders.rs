//! Opening orders with the provider.

use chrono::{DateTime, Utc};

use super::Ledger;
use crate::domain::WalletError;
use crate::store::payments::{self, FIRST_WAIT, NewOrder};

/// An order that was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenOrder {
    /// The provider's id of it.
    pub order_id: String,
    /// The provider's name.
    pub provider: &'static str,
    /// What it costs.
    pub amount_paise: i64,
    /// What it brings.
    pub coins: i64,
    /// In the sandbox: the payment that pays it.
    pub payment_id: Option<String>,
    /// What the app needs to pay it.
    pub public_key: Option<String>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
}

impl Ledger {
    /// Opens an order for a step of the rate card; the price is ours. An order that is opened and not
    /// kept, because this process dies in between, is one that nobody can pay.
    pub async fn open_order(
        &self,
        user_id: i64,
        amount_paise: i64,
        fresh_id: &str,
    ) -> Result<OpenOrder, WalletError> {
        let now = self.clock.now();
        let coins = self.terms.rate_card.coins_for(amount_paise)?;
        let opened = self.provider.open_order(fresh_id, amount_paise).await?;
        let provider = self.provider.name();
        let order = NewOrder {
            order_id: &opened.order_id,
            user_id,
            provider,
            amount_paise,
            coins,
            payment_method: None,
            payment_id: opened.payment_id.as_deref(),
            // What the sandbox knows is known already.
            ask_at: opened.payment_id.is_none().then_some(now + FIRST_WAIT),
        };
        let mut tx = self.db.begin().await?;
        payments::insert(&mut tx, &order, now).await?;
        tx.commit().await?;
        Ok(OpenOrder {
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
