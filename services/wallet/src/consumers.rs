//! Events that the wallet consumes: registrations open wallets, and deletions close them.

use talktime_kit::db::PgConnection;
use talktime_kit::messaging::EventHandler;
use talktime_kit::{Clock, Error};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::ledger::{close_account, transfer_debts};
use crate::store::wallets;

/// Opens and closes wallets as profile events arrive.
pub(crate) struct WalletEventHandler {
    clock: Clock,
}

impl WalletEventHandler {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl EventHandler for WalletEventHandler {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let now = self.clock.now();
        match event.kind {
            Some(Kind::UserRegistered(user)) => {
                wallets::insert_missing(tx, &[user.user_id], now).await?;
                transfer_debts(tx, user.user_id, &user.phone_hash, now).await?;
            }
            Some(Kind::UserDeleted(user)) => {
                close_account(tx, user.user_id, &user.phone_hash, now).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
