//! One operation, one transaction: lock, look, decide, post, tell.

mod charge;
mod close;
mod recharge;
mod settle;
mod statement;
mod void;

use sqlx::PgPool;
use talktime_kit::Clock;
use talktime_kit::messaging::Relay;

use crate::domain::WalletError;
use crate::domain::payment::RateCard;
use crate::store::wallets::{self, Balance};

pub use charge::Outcome;
pub use close::close_account;
pub use recharge::{Recharge, Recharged};
pub use settle::Settled;
pub use statement::Statement;

/// The wallet's operations on its own database.
#[derive(Clone)]
pub struct Ledger {
    db: PgPool,
    relay: Relay,
    clock: Clock,
    rate_card: RateCard,
}

impl Ledger {
    /// A ledger on a migrated database; `relay` is woken when there are events.
    pub fn new(db: PgPool, relay: Relay, clock: Clock, rate_card: RateCard) -> Self {
        Self {
            db,
            relay,
            clock,
            rate_card,
        }
    }

    /// What coins cost.
    pub fn rate_card(&self) -> &RateCard {
        &self.rate_card
    }

    /// A person's balance; all zero for one who never had coins or rupees.
    pub async fn balance(&self, user_id: i64) -> Result<Balance, WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(wallets::balance(&mut connection, user_id).await?)
    }
}
