//! One signing key follows another, and nobody is logged out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use talktime_client::{ApiClient, AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, TestApp, connect_app, run_dev, try_dev, wait_for};

use crate::take_stack;

/// A token's header, which names the key.
fn key_of(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}

async fn keys(command: &[&str]) -> String {
    let output = run_dev(&[&["run", "auth", "keys"], command].concat()).await;
    output.trim().to_owned()
}

async fn shown_keys(app: &ApiClient) -> Vec<String> {
    let answer = app.get("/.well-known/jwks.json").answer().await;
    let keys = answer.body["keys"].as_array().expect("a key set");
    let ids = keys.iter().filter_map(|key| key["kid"].as_str());
    ids.map(str::to_owned).collect()
}

async fn wait_until_shown(gateways: [&ApiClient; 2], expected: &[&str]) {
    for gateway in gateways {
        wait_for("a gateway to show the keys", || async {
            (shown_keys(gateway).await == expected).then_some(())
        })
        .await;
    }
}

async fn me(app: &ApiClient, person: &AppUser) -> u16 {
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

/// Uses the app until told to stop, on both gateways in turn; fails when anything is refused.
async fn use_the_app(
    gateways: [ApiClient; 2],
    mut person: AppUser,
    done: Arc<AtomicBool>,
) -> AppUser {
    while !done.load(Ordering::Relaxed) {
        for gateway in &gateways {
            person = refresh(gateway, person).await;
            for other in &gateways {
                assert_eq!(me(other, &person).await, 200);
            }
        }
    }
    person
}

/// Signs up anew until the new key signs.
async fn with_another_key(app: &TestApp, old: &AppUser) -> AppUser {
    wait_for("another key to sign", || async {
        let person = app.sign_up(UserRole::User).await;
        let is_other = key_of(&person.access_token) != key_of(&old.access_token);
        is_other.then_some(person)
    })
    .await
}

#[tokio::test]
async fn keys_change_while_people_use_the_app_and_nobody_is_logged_out() {
    let _stack = take_stack().await;
    let (first, second) = (connect_app().await, start_gateway(&[]).await);
    let gateways = [&*first, &second.app];
    let [idle, busy] = [
        first.sign_up(UserRole::User).await,
        first.sign_up(UserRole::User).await,
    ];
    let done = Arc::new(AtomicBool::new(false));
    let everywhere = gateways.map(ApiClient::clone);
    let busy = tokio::spawn(use_the_app(everywhere, busy, done.clone()));

    let [old_id]: [String; 1] = shown_keys(&first).await.try_into().expect("one key");
    let next_id = keys(&["publish"]).await;
    wait_until_shown(gateways, &[&old_id, &next_id]).await;
    let still = first.sign_up(UserRole::User).await;
    assert_eq!(key_of(&still.access_token), key_of(&idle.access_token));

    wait_for("the next key to be known everywhere", || async {
        sign(&next_id).await.then_some(())
    })
    .await;
    let newcomer = with_another_key(&first, &idle).await;
    for gateway in gateways {
        assert_eq!(me(gateway, &newcomer).await, 200, "signed by the new key");
        assert_eq!(me(gateway, &idle).await, 200, "signed by the old key");
    }
    let refreshed = refresh(&first, idle.clone()).await;
    assert_eq!(
        key_of(&refreshed.access_token),
        key_of(&newcomer.access_token)
    );
    done.store(true, Ordering::Relaxed);
    let busy = busy.await.expect("nobody was refused anything");

    // Sooner than is good for those who have not refreshed since.
    keys(&["retire", "--now", &old_id]).await;
    wait_until_shown(gateways, &[&next_id]).await;
    for gateway in gateways {
        assert_eq!(me(gateway, &still).await, 401);
        for person in [&newcomer, &refreshed, &busy] {
            assert_eq!(me(gateway, person).await, 200);
        }
    }
}

/// Whether a key signs now. Without haste it waits for minutes, which no test does.
async fn sign(key_id: &str) -> bool {
    let command = ["run", "auth", "keys", "sign", "--now", key_id];
    try_dev(&command).await
}
