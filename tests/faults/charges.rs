//! The wallet is killed during ten thousand charges: acknowledged ones are in the journal, and the others are
//! charged once when they are repeated. The charges are gRPC requests, like those of calls.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, stream};
use sqlx::{Connection, PgConnection};
use talktime_kit::testing::{request_with_token, stack_tokens};
use talktime_proto::access::v1::Workload;
use talktime_proto::wallet::charge_id;
use talktime_proto::wallet::v1::charge_response::Outcome;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;
use talktime_proto::wallet::v1::{
    AddCoinsRequest, ChargeBatchRequest, ChargeRequest, GetBalanceRequest,
};
use talktime_tests::{assert_books_are_right, connect_as, read_variable, run_dev, wait_for};
use tokio::sync::Notify;
use tonic::transport::Channel;

use crate::lock_stack;

const CHARGES: i64 = 10_000;
const AT_ONCE: usize = 64;
/// Acknowledged charges after which the wallet is killed.
const KILLED_AFTER: usize = 3_000;
/// First user id, far above those of registered users.
const FIRST_PAYER: i64 = 3_000_000_000;
const PAYERS: i64 = 20;
const FIRST_CALL: i64 = 3_000_000_000;

/// Returns a client of the wallet for the process that charges.
fn connect_wallet() -> WalletServiceClient<Channel> {
    WalletServiceClient::new(connect_as(Workload::Calls, Workload::Wallet))
}

fn choose_payer(call_id: i64) -> i64 {
    FIRST_PAYER + call_id % PAYERS
}

/// The exact price of all charges.
async fn give_coins() {
    let gateway = connect_as(Workload::Gateway, Workload::Wallet);
    let mut wallet = WalletServiceClient::new(gateway);
    let tokens = stack_tokens().await;
    for payer in 0..PAYERS {
        let user_id = FIRST_PAYER + payer;
        let request = AddCoinsRequest {
            user_id,
            coins: CHARGES / PAYERS,
            tx_type: "purchase".to_owned(),
            ..AddCoinsRequest::default()
        };
        let request = request_with_token(&tokens.sign_for(user_id), request);
        wallet.add_coins(request).await.expect("bought");
    }
}

/// Charges the first minute of a call; returns whether the wallet acknowledged it.
async fn charge_first_minute(mut wallet: WalletServiceClient<Channel>, call_id: i64) -> bool {
    let charge = ChargeRequest {
        call_id,
        minute: 1,
        user_id: choose_payer(call_id),
        coins: 1,
        ..ChargeRequest::default()
    };
    let request = ChargeBatchRequest {
        charges: vec![charge],
    };
    match wallet.charge_batch(request).await {
        Ok(response) => match response.into_inner().outcomes.remove(0).outcome {
            Some(Outcome::Charged(_)) => true,
            refused => panic!("call {call_id}: {refused:?}"),
        },
        // The wallet is dead or dying, so the outcome is unknown.
        Err(_) => false,
    }
}

/// Charges all calls and kills the wallet meanwhile; returns the acknowledged calls.
async fn charge_and_kill() -> BTreeSet<i64> {
    let acknowledged = AtomicUsize::new(0);
    let enough = Notify::new();
    let wallet = connect_wallet();
    let charging = stream::iter(FIRST_CALL..FIRST_CALL + CHARGES)
        .map(|call_id| {
            let (wallet, acknowledged, enough) = (wallet.clone(), &acknowledged, &enough);
            async move {
                let is_charged = charge_first_minute(wallet, call_id).await;
                let before = acknowledged.fetch_add(usize::from(is_charged), Ordering::SeqCst);
                if before + 1 == KILLED_AFTER {
                    enough.notify_one();
                }
                is_charged.then_some(call_id)
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |charged| charged)
        .collect();
    let killing = async {
        enough.notified().await;
        run_dev(&["kill", "wallet"]).await;
    };
    let (charged, ()) = tokio::join!(charging, killing);
    charged
}

/// Lists the calls of all charges in the journal, once for each row.
async fn list_journal_calls(database: &mut PgConnection) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT t.call_id FROM wallet.journal AS j JOIN wallet.transfers AS t USING (transfer_id)
         WHERE t.kind = 'charge' AND t.call_id >= $1 AND t.call_id < $2 ORDER BY t.call_id",
    )
    .bind(FIRST_CALL)
    .bind(FIRST_CALL + CHARGES)
    .fetch_all(database)
    .await
    .expect("readable")
}

#[tokio::test]
async fn acknowledged_charges_are_in_the_journal() {
    let _stack = lock_stack().await;
    give_coins().await;
    let acknowledged = charge_and_kill().await;
    assert!(acknowledged.len() >= KILLED_AFTER);
    let is_whole = i64::try_from(acknowledged.len()) == Ok(CHARGES);
    assert!(!is_whole, "it died too late");

    let database = read_variable("WALLET_APP_DATABASE_URL");
    let mut database = PgConnection::connect(&database).await.expect("connected");
    let kept: BTreeSet<i64> = list_journal_calls(&mut database)
        .await
        .into_iter()
        .collect();
    let lost: Vec<String> = acknowledged
        .difference(&kept)
        .map(|call_id| charge_id(*call_id, 1))
        .collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");

    run_dev(&["start", "wallet"]).await;
    let wallet = connect_wallet();
    for call_id in (FIRST_CALL..FIRST_CALL + CHARGES).filter(|call| !acknowledged.contains(call)) {
        wait_for("a charge asked for again", || async {
            charge_first_minute(wallet.clone(), call_id)
                .await
                .then_some(())
        })
        .await;
    }
    let calls: Vec<i64> = (FIRST_CALL..FIRST_CALL + CHARGES).collect();
    assert_eq!(list_journal_calls(&mut database).await, calls, "each once");
    for payer in 0..PAYERS {
        let user_id = FIRST_PAYER + payer;
        let balance = wallet
            .clone()
            .get_balance(GetBalanceRequest { user_id })
            .await;
        assert_eq!(balance.expect("readable").into_inner().balance_coins, 0);
    }
    assert_books_are_right().await;
}
