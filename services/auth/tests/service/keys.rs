//! One key follows another.

use std::sync::Arc;

use futures::future::join_all;
use talktime_auth::SCHEMA;
use talktime_auth::config::TokenSigningConfig;
use talktime_auth::domain::claims::TokenLifetimes;
use talktime_auth::domain::{KeyStageRefusal, SigningKey, SigningKeyStage};
use talktime_auth::rotation::{KeyRotationMode, SigningKeyRotation};
use talktime_kit::testing::TestDatabase;

const OPERATOR: &str = "Asha Rao";

fn rotation(
    database: &TestDatabase,
    sealing_digit: &str,
    key_published_secs: u32,
) -> SigningKeyRotation {
    let config = TokenSigningConfig {
        sealing_key: sealing_digit.repeat(64).into(),
        key_published_secs,
        lifetimes: TokenLifetimes::default(),
        refresh_grace_secs: 0,
    };
    SigningKeyRotation::new(database.app.clone(), &config).expect("a sealing key")
}

/// Steps in the audit log, the first one first.
async fn list_recorded_steps(database: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT detail FROM auth.audit_log WHERE action = 'operator_acted' ORDER BY audit_id",
    )
    .fetch_all(&database.app_pool)
    .await
    .expect("readable")
}

async fn load_stages(rotation: &SigningKeyRotation) -> Vec<SigningKeyStage> {
    let keys = rotation.list_keys().await.expect("listed");
    keys.iter().map(SigningKey::stage).collect()
}

/// Makes every key seem this old.
async fn time_passes(database: &TestDatabase, seconds: i32) {
    sqlx::query(
        "UPDATE auth.signing_keys SET published_at = published_at - make_interval(secs => $1),
             signs_from = signs_from - make_interval(secs => $1),
             signs_until = signs_until - make_interval(secs => $1)",
    )
    .bind(seconds)
    .execute(&database.app_pool)
    .await
    .expect("moved");
}

fn refusal(outcome: anyhow::Result<()>) -> KeyStageRefusal {
    let error = outcome.expect_err("refused");
    error.downcast().expect("a refusal")
}

#[tokio::test]
async fn one_of_many_concurrently_starting_replicas_generates_the_first_key() {
    let database = TestDatabase::new(SCHEMA).await;
    let rotation = Arc::new(rotation(&database, "a", 300));
    let rings = join_all((0..8).map(|_| rotation.load_ring())).await;
    let mut key_ids: Vec<String> = rings
        .iter()
        .map(|ring| ring.as_ref().expect("loaded").signing_key_id().to_owned())
        .collect();
    key_ids.dedup();
    assert_eq!(key_ids.len(), 1);
    assert_eq!(load_stages(&rotation).await, [SigningKeyStage::Signing]);
}

#[tokio::test]
async fn a_key_is_published_signs_after_the_wait_and_is_retired() {
    let database = TestDatabase::new(SCHEMA).await;
    let rotation = rotation(&database, "a", 300);
    let first = rotation.load_ring().await.expect("loaded");
    let first_id = first.signing_key_id();
    let next_id = rotation.publish_key(OPERATOR).await.expect("published");
    let ring = rotation.load_ring().await.expect("loaded");
    assert_eq!(ring.signing_key_id(), first_id);
    assert!(ring.jwks_json().contains(&next_id), "shown to everybody");

    let early = refusal(
        rotation
            .sign_with(&next_id, KeyRotationMode::Safe, OPERATOR)
            .await,
    );
    assert!(matches!(early, KeyStageRefusal::SignsLater(_)), "{early:?}");
    time_passes(&database, 300).await;
    rotation
        .sign_with(&next_id, KeyRotationMode::Safe, OPERATOR)
        .await
        .expect("signs");
    let ring = rotation.load_ring().await.expect("loaded");
    assert_eq!(ring.signing_key_id(), next_id);
    assert!(ring.jwks_json().contains(first_id), "its tokens are good");
    assert_eq!(
        load_stages(&rotation).await,
        [SigningKeyStage::Verifying, SigningKeyStage::Signing]
    );

    let early = refusal(
        rotation
            .retire_key(first_id, KeyRotationMode::Safe, OPERATOR)
            .await,
    );
    assert!(
        matches!(early, KeyStageRefusal::RetiresLater(_)),
        "{early:?}"
    );
    let refresh_secs = TokenLifetimes::default().refresh_secs;
    time_passes(&database, i32::try_from(refresh_secs).expect("small") + 5).await;
    rotation
        .retire_key(first_id, KeyRotationMode::Safe, OPERATOR)
        .await
        .expect("retired");
    let ring = rotation.load_ring().await.expect("loaded");
    assert!(!ring.jwks_json().contains(first_id));
    let sealed: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed_key FROM auth.signing_keys WHERE key_id = $1")
            .bind(first_id)
            .fetch_one(&database.app_pool)
            .await
            .expect("the row stays");
    assert_eq!(sealed, None, "its private half is gone");
}

#[tokio::test]
async fn a_leaked_key_is_retired_at_once() {
    let database = TestDatabase::new(SCHEMA).await;
    let rotation = rotation(&database, "a", 300);
    let leaked = rotation.load_ring().await.expect("loaded");
    let leaked_id = leaked.signing_key_id();
    let next_id = rotation.publish_key(OPERATOR).await.expect("published");
    time_passes(&database, 5).await;
    rotation
        .sign_with(&next_id, KeyRotationMode::Now, OPERATOR)
        .await
        .expect("signs");
    rotation
        .retire_key(leaked_id, KeyRotationMode::Now, OPERATOR)
        .await
        .expect("retired");
    assert_eq!(
        load_stages(&rotation).await,
        [SigningKeyStage::Retired, SigningKeyStage::Signing]
    );
    let steps = [
        format!("keys publish {next_id} by {OPERATOR}"),
        format!("keys sign {next_id} by {OPERATOR}"),
        format!("keys retire {leaked_id} by {OPERATOR}"),
    ];
    assert_eq!(list_recorded_steps(&database).await, steps);
}

#[tokio::test]
async fn steps_that_leave_no_key_or_an_unknown_one_are_refused() {
    let database = TestDatabase::new(SCHEMA).await;
    let rotation = rotation(&database, "a", 0);
    let ring = rotation.load_ring().await.expect("loaded");
    let key_id = ring.signing_key_id();
    for (outcome, expected) in [
        (
            rotation
                .retire_key(key_id, KeyRotationMode::Now, OPERATOR)
                .await,
            KeyStageRefusal::CannotRetire(SigningKeyStage::Signing),
        ),
        (
            rotation
                .sign_with(key_id, KeyRotationMode::Now, OPERATOR)
                .await,
            KeyStageRefusal::CannotSign(SigningKeyStage::Signing),
        ),
        (
            rotation
                .sign_with("nobody's", KeyRotationMode::Now, OPERATOR)
                .await,
            KeyStageRefusal::Unknown,
        ),
    ] {
        assert_eq!(refusal(outcome), expected);
    }
    assert_eq!(load_stages(&rotation).await, [SigningKeyStage::Signing]);
    assert!(list_recorded_steps(&database).await.is_empty());
}

#[tokio::test]
async fn keys_open_under_the_sealing_key_alone() {
    let database = TestDatabase::new(SCHEMA).await;
    rotation(&database, "a", 0)
        .load_ring()
        .await
        .expect("loaded");
    let error = rotation(&database, "b", 0).load_ring().await.err();
    let message = error.expect("another key").to_string();
    assert!(message.contains("SEALING_KEY"), "{message}");
}

#[tokio::test]
async fn a_wrong_sealing_key_is_refused_with_the_name_of_its_variable() {
    let database = TestDatabase::new(SCHEMA).await;
    let config = TokenSigningConfig {
        sealing_key: "abc".into(),
        key_published_secs: 0,
        lifetimes: TokenLifetimes::default(),
        refresh_grace_secs: 0,
    };
    let refused = SigningKeyRotation::new(database.app.clone(), &config).err();
    let refused = refused.expect("too short").to_string();
    assert!(
        refused.contains("TALKTIME_AUTH__TOKENS__SEALING_KEY"),
        "{refused}"
    );
}
