//! A password of the database is changed during a call, as `docs/runbooks/rotate-keys.md` describes.

use sqlx::{AssertSqlSafe, PgPool};
use talktime_tests::{CallPair, assert_books_are_right, read_variable, run_dev, wait_for};

use crate::lock_stack;

/// Characters that need no encoding in a URL.
const NEW_PASSWORD: &str = "newcallsapp2";

async fn set_password(superuser: &PgPool, password: &str) {
    let statement = format!("ALTER ROLE calls_app PASSWORD '{password}'");
    let changed = sqlx::query(AssertSqlSafe(statement)).execute(superuser);
    changed.await.expect("changed");
}

async fn wait_for_coins_spent(pair: &CallPair, coins: i64) {
    wait_for("a minute to be billed", || async {
        let ongoing = pair.load_ongoing_call(&pair.caller).await;
        (ongoing["coins_spent"].as_i64() >= Some(coins)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_call_goes_on_while_the_password_of_its_service_changes() {
    let _stack = lock_stack().await;
    let superuser = PgPool::connect_lazy(&read_variable("DATABASE_URL")).expect("a valid url");
    let url = read_variable("CALLS_APP_DATABASE_URL");
    let (before, _) = url.rsplit_once('@').expect("a password and a host");
    let (_, old_password) = before.rsplit_once(':').expect("a password");
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;

    set_password(&superuser, NEW_PASSWORD).await;
    // Open connections stay usable.
    wait_for_coins_spent(&pair, 20).await;
    let new_url = url.replacen(old_password, NEW_PASSWORD, 1);
    let variable = format!("TALKTIME_CALLS__DATABASE__APP_URL={new_url}");
    run_dev(&["restart", "calls", "--no-build", "--env", &variable]).await;
    let spent = pair.load_ongoing_call(&pair.caller).await["coins_spent"].as_i64();
    wait_for_coins_spent(&pair, spent.expect("coins") + 10).await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");

    set_password(&superuser, old_password).await;
    run_dev(&["restart", "calls", "--no-build"]).await;
    assert_books_are_right().await;
}
