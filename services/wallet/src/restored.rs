//! Repairs the wallet after Postgres was restored to a moment of the past: it learns from the payment provider
//! what was paid since, and verifies its books.

use talktime_kit::config::ServiceConfig;
use talktime_kit::db::StandbyReads;
use talktime_kit::messaging::Relay;
use talktime_kit::{Clock, db, failpoint, restored};

use crate::SCHEMA;
use crate::anchors::AnchorLog;
use crate::config::WalletConfig;
use crate::ledger::LostOrders;

/// Makes the wallet safe and prints what was recovered and what an operator has to refund.
///
/// # Errors
/// A process still runs, the provider or a store does not answer in time, or the books are wrong.
pub async fn make_safe(service: &ServiceConfig, config: &WalletConfig) -> anyhow::Result<()> {
    restored::make_safe(SCHEMA, service).await?;
    let db = db::pool(SCHEMA, &service.database)?;
    let reads = StandbyReads::of_primary(db.clone());
    let ledger = crate::build_ledger(reads, db, Relay::default(), config)?;
    let lost = ledger.find_lost_orders().await?;
    print_lost(&lost);
    let recovered = ledger.recover_orders(&lost).await?;
    println!(
        "wallet: {} orders were looked up at the provider, and {} were credited",
        recovered.looked_up, recovered.credited
    );
    failpoint::reach("wallet.restored.recovered");
    begin_anchors_anew(service, config).await?;
    crate::verify(service, config).await
}

/// Anchors what the restored database has, since it may lack links that earlier anchors name.
async fn begin_anchors_anew(service: &ServiceConfig, config: &WalletConfig) -> anyhow::Result<()> {
    let Some(anchors) = &config.anchors else {
        return Ok(());
    };
    let mut connection = db::pool(SCHEMA, &service.database)?.open_session().await?;
    let now = Clock::System.now();
    AnchorLog::open(anchors)?
        .begin_anew(&mut connection, now)
        .await?;
    println!("wallet: anchors begin anew; those from before are not compared any more");
    Ok(())
}

/// Prints the lost orders. It runs before anything is stored, because afterwards they are not lost any more.
fn print_lost(lost: &LostOrders) {
    for (order, buyer) in &lost.recoverable {
        let (order_id, user_id) = (&order.order_id, buyer.user_id);
        println!("recovered: order {order_id} of user {user_id}");
    }
    for order in &lost.refundable {
        let (order_id, amount_paise) = (&order.order_id, order.amount_paise);
        println!(
            "lost: {} order {order_id} of {amount_paise} paise has no buyer any more: refund it",
            order.created_at.to_rfc3339()
        );
    }
}
