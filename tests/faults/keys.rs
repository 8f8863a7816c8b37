//! Rotation of signing keys without logging anybody out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use talktime_client::{ApiClient, AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, TestApp, connect_app, run_dev, try_dev, wait_for};

use crate::lock_stack;

/// Returns the id of the key that signed a token.
fn key_of(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}

async fn run_keys_command(command: &[&str]) -> String {
    let operator: &[&str] = &["--operator", "asha"];
    let output = run_dev(&[&["run", "auth", "keys"], command, operator].concat()).await;
    output.trim().to_owned()
}

async fn list_shown_keys(app: &ApiClient) -> Vec<String> {
    let answer = app.get("/.well-known/jwks.json").answer().await;
    let keys = answer.body["keys"].as_array().expect("a key set");
    let ids = keys.iter().filter_map(|key| key["kid"].as_str());
    ids.map(str::to_owned).collect()
}

async fn wait_until_shown(gateways: [&ApiClient; 2], expected: &[&str]) {
    for gateway in gateways {
        wait_for("a gateway to show the keys", || async {
            (list_shown_keys(gateway).await == expected).then_some(())
        })
        .await;
    }
}

async fn load_own_profile(app: &ApiClient, person: &AppUser) -> u16 {
    app.get("/users/me").as_user(person).answer().await.status
}

async fn refresh(app: &ApiClient, person: AppUser) -> AppUser {
    let body = json!({"refresh_token": person.refresh_token});
    let answer = app.post("/auth/refresh").json(&body).answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = |name: &str| answer.body[name].as_str().expect("a token").to_owned();
    AppUser {
        access_token: token("access_token"),
        refresh_token: token("refresh_token"),
        ..person
    }
}

/// Sends requests to both gateways in turn until `done` is set; fails if one is refused.
async fn use_the_app(
    gateways: [ApiClient; 2],
    mut person: AppUser,
    done: Arc<AtomicBool>,
) -> AppUser {
    while !done.load(Ordering::Relaxed) {
        for gateway in &gateways {
            person = refresh(gateway, person).await;
            for other in &gateways {
                assert_eq!(load_own_profile(other, &person).await, 200);
            }
        }
    }
    person
}

/// Signs up users until the new key signs their tokens.
async fn wait_for_another_key(app: &TestApp, old: &AppUser) -> AppUser {
    wait_for("another key to sign", || async {
        let person = app.sign_up(UserRole::User).await;
        let is_other = key_of(&person.access_token) != key_of(&old.access_token);
        is_other.then_some(person)
    })
    .await
}

#[tokio::test]
async fn a_key_rotation_logs_nobody_out() {
    let _stack = lock_stack().await;
    let (first, second) = (connect_app().await, start_gateway(&[]).await);
    let gateways = [&*first, &second.app];
    let [idle, busy] = [
        first.sign_up(UserRole::User).await,
        first.sign_up(UserRole::User).await,
    ];
    let done = Arc::new(AtomicBool::new(false));
    let everywhere = gateways.map(ApiClient::clone);
    let busy = tokio::spawn(use_the_app(everywhere, busy, done.clone()));

    let [old_id]: [String; 1] = list_shown_keys(&first).await.try_into().expect("one key");
    let next_id = run_keys_command(&["publish"]).await;
    wait_until_shown(gateways, &[&old_id, &next_id]).await;
    let still = first.sign_up(UserRole::User).await;
    assert_eq!(key_of(&still.access_token), key_of(&idle.access_token));

    wait_for("the next key to be known everywhere", || async {
        sign_with(&next_id).await.then_some(())
    })
    .await;
    let newcomer = wait_for_another_key(&first, &idle).await;
    for gateway in gateways {
        assert_eq!(
            load_own_profile(gateway, &newcomer).await,
            200,
            "signed by the new key"
        );
        assert_eq!(
            load_own_profile(gateway, &idle).await,
            200,
            "signed by the old key"
        );
    }
    let refreshed = refresh(&first, idle.clone()).await;
    assert_eq!(
        key_of(&refreshed.access_token),
        key_of(&newcomer.access_token)
    );
    done.store(true, Ordering::Relaxed);
    let busy = busy.await.expect("nobody was refused anything");

    // Users who have not refreshed since would be logged out.
    run_keys_command(&["retire", "--now", &old_id]).await;
    wait_until_shown(gateways, &[&next_id]).await;
    for gateway in gateways {
        assert_eq!(load_own_profile(gateway, &still).await, 401);
        for person in [&newcomer, &refreshed, &busy] {
            assert_eq!(load_own_profile(gateway, person).await, 200);
        }
    }
}

/// Signs with a key at once, because the safe mode waits for minutes; returns whether the command succeeded.
async fn sign_with(key_id: &str) -> bool {
    let command = [
        "run",
        "auth",
        "keys",
        "sign",
        "--operator",
        "asha",
        "--now",
        key_id,
    ];
    try_dev(&command).await
}
