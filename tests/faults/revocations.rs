//! A revoked token is refused everywhere within a second, whatever happens to Redis or auth.

use std::time::{Duration, Instant};

use serde_json::json;
use talktime_client::{ApiAnswer, ApiClient, AppUser, UserRole};
use talktime_kit::redis::commands::ClientLike;
use talktime_kit::redis::{self, Script};
use talktime_kit::testing::stack_redis;
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, TestApp, connect_app, read_variable, run_dev, wait_for};

use crate::lock_stack;

const A_SECOND: Duration = Duration::from_secs(1);

async fn load_own_profile(app: &ApiClient, person: &AppUser) -> ApiAnswer {
    app.get("/users/me").as_user(person).answer().await
}

/// Asserts that requests are refused from a second after `revoked_at` on.
async fn assert_refused_within_a_second(app: &ApiClient, person: &AppUser, revoked_at: Instant) {
    loop {
        let sent_after = revoked_at.elapsed();
        let answer = load_own_profile(app, person).await;
        if answer.status == 401 {
            return assert_eq!(answer.code(), "token_revoked");
        }
        assert!(
            sent_after < A_SECOND,
            "{answer:?} {sent_after:?} after the revocation"
        );
    }
}

async fn log_out(app: &TestApp, person: &AppUser) {
    let left = app.post("/auth/logout").as_user(person).answer().await;
    assert_eq!(left.status, 200, "{left:?}");
}

async fn log_out_everywhere(app: &TestApp, person: &AppUser) {
    let left = app.post("/auth/logout_all").as_user(person).answer().await;
    assert_eq!(left.status, 200, "{left:?}");
}

async fn end_session(app: &TestApp, person: &AppUser) {
    let listed = app.get("/auth/sessions").as_user(person).answer().await;
    let id = listed.body["sessions"][0]["session_id"].as_str();
    let path = format!("/auth/sessions/{}", id.expect("a session"));
    let ended = app.delete(&path).as_user(person).answer().await;
    assert_eq!(ended.status, 200, "{ended:?}");
}

async fn use_a_refresh_token_twice(app: &TestApp, person: &AppUser) {
    for status in [200, 401] {
        let body = json!({"refresh_token": person.refresh_token});
        let answer = app.post("/auth/refresh").json(&body).answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

async fn delete(app: &TestApp, person: &AppUser) {
    let deleted = app.delete("/users/me").as_user(person).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
}

#[tokio::test]
async fn every_way_to_revoke_reaches_every_replica_within_a_second() {
    let _stack = lock_stack().await;
    let (first, second) = (connect_app().await, start_gateway(&[]).await);
    for way in 0..5 {
        let person = first.sign_up(UserRole::User).await;
        // Both gateways have verified the token and cached the result.
        assert_eq!(load_own_profile(&first, &person).await.status, 200);
        assert_eq!(load_own_profile(&second.app, &person).await.status, 200);
        match way {
            0 => log_out(&first, &person).await,
            1 => log_out_everywhere(&first, &person).await,
            2 => end_session(&first, &person).await,
            3 => use_a_refresh_token_twice(&first, &person).await,
            _ => delete(&first, &person).await,
        }
        let revoked_at = Instant::now();
        assert_refused_within_a_second(&second.app, &person, revoked_at).await;
        assert_refused_within_a_second(&first, &person, revoked_at).await;
    }
}

#[tokio::test]
async fn flushing_redis_makes_no_revoked_token_valid() {
    let _stack = lock_stack().await;
    let (first, second) = (connect_app().await, start_gateway(&[]).await);
    let person = first.sign_up(UserRole::User).await;
    log_out(&first, &person).await;
    let revoked_at = Instant::now();
    flush_redis().await;
    // A new gateway, which has never seen the token, refuses it as well.
    let third = start_gateway(&[]).await;
    for gateway in [&*first, &second.app, &third.app] {
        assert_refused_within_a_second(gateway, &person, revoked_at).await;
    }
}

#[tokio::test]
async fn without_auth_redis_decides_and_without_both_every_token_is_refused() {
    let _stack = lock_stack().await;
    let app = connect_app().await;
    let (kept_user, logged_out_user) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    log_out(&app, &logged_out_user).await;
    run_dev(&["kill", "auth"]).await;
    run_dev(&["kill", "redis"]).await;
    wait_for("the last answer of auth to be too old", || async {
        let answer = load_own_profile(&app, &kept_user).await;
        (answer.code() == "redis_unavailable").then_some(())
    })
    .await;
    assert_eq!(
        load_own_profile(&app, &logged_out_user).await.status,
        401,
        "from memory"
    );

    run_dev(&["start", "redis"]).await;
    wait_for("Redis to replace auth", || async {
        (load_own_profile(&app, &kept_user).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(load_own_profile(&app, &logged_out_user).await.status, 401);
    run_dev(&["start", "auth"]).await;
}

async fn assert_deleted_for_good(gateway: &ApiClient, person: &AppUser) {
    for path in ["/users/me", "/wallet/balance"] {
        let refused = gateway.get(path).as_user(person).answer().await;
        assert_eq!(refused.code(), "token_revoked", "{refused:?}");
    }
    let body = json!({"amount_rupees": 150, "payment_method": "upi"});
    let recharge = gateway.post("/calls/recharge").as_user(person).json(&body);
    assert_eq!(recharge.answer().await.code(), "token_revoked");
    let body = json!({"refresh_token": person.refresh_token});
    let refresh = gateway.post("/auth/refresh").json(&body).answer().await;
    assert_eq!(refresh.code(), "invalid_refresh_token", "{refresh:?}");
}

#[tokio::test]
async fn a_deletion_holds_on_every_gateway_while_nats_is_down() {
    let _stack = lock_stack().await;
    let (first, second) = (connect_app().await, start_gateway(&[]).await);
    let person = first.sign_up(UserRole::User).await;
    assert_eq!(load_own_profile(&second.app, &person).await.status, 200);
    run_dev(&["stop", "nats"]).await;
    delete(&first, &person).await;
    for gateway in [&second.app, &*first] {
        assert_deleted_for_good(gateway, &person).await;
    }
    run_dev(&["start", "nats"]).await;
}

/// Requests a deletion that does not finish.
async fn assert_cut_off(app: &TestApp, person: &AppUser) {
    let cut_off = app.delete("/users/me").as_user(person).answer().await;
    assert_eq!(cut_off.status, 503, "{cut_off:?}");
}

/// Waits until the user is gone for others, as `stranger` observes.
async fn wait_until_deleted(app: &TestApp, person: &AppUser, stranger: &AppUser) {
    wait_for("the deletion to be finished", || async {
        let body = json!({"blocked_id": person.user_id});
        let block = app
            .post("/block")
            .as_user(stranger)
            .json(&body)
            .answer()
            .await;
        (block.code() == "user_not_found").then_some(())
    })
    .await;
    assert_deleted_for_good(app, person).await;
}

#[tokio::test]
async fn a_deletion_that_auth_cannot_confirm_is_not_confirmed_and_finished_later() {
    let _stack = lock_stack().await;
    let app = connect_app().await;
    for part in ["auth", "redis"] {
        let (person, stranger) = (
            app.sign_up(UserRole::User).await,
            app.sign_up(UserRole::User).await,
        );
        run_dev(&["kill", part]).await;
        assert_cut_off(&app, &person).await;
        run_dev(&["start", part]).await;
        wait_until_deleted(&app, &person, &stranger).await;
    }
}

#[tokio::test]
async fn a_deletion_is_finished_after_a_kill_at_any_step() {
    let _stack = lock_stack().await;
    let app = connect_app().await;
    for (service, failpoint) in [
        ("profile", "profile.deletion.requested"),
        ("auth", "auth.account.ended"),
        ("profile", "profile.deletion.account_ended"),
    ] {
        let (person, stranger) = (
            app.sign_up(UserRole::User).await,
            app.sign_up(UserRole::User).await,
        );
        let variable = format!("TALKTIME_FAILPOINT={failpoint}");
        run_dev(&["restart", service, "--no-build", "--env", &variable]).await;
        assert_cut_off(&app, &person).await;
        run_dev(&["restart", service, "--no-build"]).await;
        wait_until_deleted(&app, &person, &stranger).await;
    }
}

async fn flush_redis() {
    let redis = redis::connect(&stack_redis(read_variable("REDIS_URL")));
    let redis = redis.expect("a valid address");
    redis.wait_for_connect().await.expect("Redis is up");
    let nothing = Vec::<String>::new;
    let flush = Script::from_lua("redis.call('FLUSHALL')");
    let flushed = flush.evalsha_with_reload::<(), _, _>(redis.next(), nothing(), nothing());
    flushed.await.expect("flushed");
}
