//! Rotation of signing keys without logging anybody out. The next key is published, it signs once all
//! replicas and gateways have it, and the previous key is retired once its last token has expired. An
//! operator makes every step (`talktime-auth keys`), which the audit log records in the transaction of the step; replicas
//! follow within seconds.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::sealing::SealingKey;

use crate::config::TokenSigningConfig;
use crate::domain::{KeyStageRefusal, SigningKey};
use crate::keyring::{Ed25519PrivateKey, TokenKeyRing};
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::signing_keys::{self, ActiveSigningKey};

const WANTED_KEY: &str =
    "TALKTIME_AUTH__TOKENS__SEALING_KEY must be 64 hexadecimal digits (openssl rand -hex 32)";
/// The interval at which replicas reload the keys.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// The steps of a rotation.
pub struct SigningKeyRotation {
    db: DatabasePool,
    sealing: SealingKey,
    /// The time between a key's publication and its first signature.
    known_after: TimeDelta,
    /// The lifetime of the longest-lived token.
    lifetime: TimeDelta,
}

/// Whether a step waits until nobody is logged out by it, or happens at once, as after a leak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyRotationMode {
    /// Nobody is logged out.
    Safe,
    /// Holders of tokens of the old key, and users of gateways that do not know the new one yet, must log in
    /// again.
    Now,
}

impl SigningKeyRotation {
    /// Prepares the steps of a rotation of the keys in `db`, which last as long as `config` says.
    pub fn new(db: DatabasePool, config: &TokenSigningConfig) -> anyhow::Result<Self> {
        Ok(Self {
            db,
            sealing: SealingKey::from_hex(&config.sealing_key).context(WANTED_KEY)?,
            known_after: TimeDelta::seconds(config.key_published_secs.into()),
            lifetime: config.lifetimes.longest(),
        })
    }

    /// Loads the current keys. If there is none yet, the first key is generated.
    pub async fn load_ring(&self) -> anyhow::Result<TokenKeyRing> {
        let active = self.db.poll(|db| Box::pin(signing_keys::list_active(db)));
        let mut active = active.await?;
        if active.is_empty() {
            let (key_id, sealed) = self.generate_sealed_key()?;
            let mut tx = self.db.begin().await?;
            signing_keys::insert_first(&mut tx, &key_id, &sealed).await?;
            tx.commit().await?;
            active = signing_keys::list_active(&mut *self.db.acquire().await?).await?;
        }
        self.open_ring(active)
    }

    /// Lists every key that was ever published, the oldest first.
    pub async fn list_keys(&self) -> anyhow::Result<Vec<SigningKey>> {
        let mut tx = self.db.begin().await?;
        Ok(signing_keys::lock_all(&mut tx).await?.0)
    }

    /// Generates and publishes a key; returns its id.
    pub async fn publish_key(&self, operator: &str) -> anyhow::Result<String> {
        let (key_id, sealed) = self.generate_sealed_key()?;
        let mut tx = self.db.begin().await?;
        let now = signing_keys::insert(&mut tx, &key_id, &sealed).await?;
        record_step(&mut tx, now, "publish", &key_id, operator).await?;
        tx.commit().await?;
        Ok(key_id)
    }

    /// Signs new tokens with a published key from now on.
    pub async fn sign_with(
        &self,
        key_id: &str,
        mode: KeyRotationMode,
        operator: &str,
    ) -> anyhow::Result<()> {
        let known_after = match mode {
            KeyRotationMode::Safe => self.known_after,
            KeyRotationMode::Now => TimeDelta::zero(),
        };
        let mut tx = self.db.begin().await?;
        let (keys, now) = signing_keys::lock_all(&mut tx).await?;
        find_key(&keys, key_id)?.check_may_sign(now, known_after)?;
        signing_keys::set_signing(&mut tx, key_id, now).await?;
        record_step(&mut tx, now, "sign", key_id, operator).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Refuses every token of a key from now on.
    pub async fn retire_key(
        &self,
        key_id: &str,
        mode: KeyRotationMode,
        operator: &str,
    ) -> anyhow::Result<()> {
        let lifetime = match mode {
            KeyRotationMode::Safe => self.lifetime,
            KeyRotationMode::Now => TimeDelta::zero(),
        };
        let mut tx = self.db.begin().await?;
        let (keys, now) = signing_keys::lock_all(&mut tx).await?;
        find_key(&keys, key_id)?.check_may_retire(now, lifetime)?;
        signing_keys::set_retired(&mut tx, key_id, now).await?;
        record_step(&mut tx, now, "retire", key_id, operator).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes a new key sign and retires all others at once, so that no token is valid any more. Only for a time
    /// in which no replica runs: a running one would go on to sign with its key for a moment.
    pub async fn replace_all_keys(&self) -> anyhow::Result<String> {
        let (key_id, sealed) = self.generate_sealed_key()?;
        let mut tx = self.db.begin().await?;
        let (keys, now) = signing_keys::lock_all(&mut tx).await?;
        signing_keys::insert(&mut tx, &key_id, &sealed).await?;
        signing_keys::set_signing(&mut tx, &key_id, now).await?;
        for key in keys.iter().filter(|key| key.retired_at.is_none()) {
            signing_keys::set_retired(&mut tx, &key.key_id, now).await?;
        }
        tx.commit().await?;
        Ok(key_id)
    }

    fn generate_sealed_key(&self) -> anyhow::Result<(String, Vec<u8>)> {
        let der = Ed25519PrivateKey::generate()?;
        let key_id = Ed25519PrivateKey::from_der(&der)?.key_id().to_owned();
        let sealed = self.sealing.seal(&key_id, &der)?;
        Ok((key_id, sealed))
    }

    fn open_ring(&self, active: Vec<ActiveSigningKey>) -> anyhow::Result<TokenKeyRing> {
        let mut signing = None;
        let mut others = Vec::new();
        for key in active {
            let der = self.sealing.open(&key.key_id, &key.sealed_key);
            let der = der.with_context(|| {
                let key_id = &key.key_id;
                format!("key {key_id} was sealed under another TALKTIME_AUTH__TOKENS__SEALING_KEY")
            })?;
            let private = Ed25519PrivateKey::from_der(&der)?;
            if key.is_signing {
                signing = Some(private);
            } else {
                others.push(private);
            }
        }
        TokenKeyRing::new(signing.context("no key signs")?, &others)
    }
}

/// Writes a step of an operator to the audit log.
async fn record_step(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    step: &str,
    key_id: &str,
    operator: &str,
) -> sqlx::Result<()> {
    let detail = format!("keys {step} {key_id} by {operator}");
    let entry = AuditLogEntry::new(AuditAction::OperatorActed, now).with_detail(detail);
    audit_log::record(tx, entry).await
}

fn find_key<'a>(keys: &'a [SigningKey], key_id: &str) -> Result<&'a SigningKey, KeyStageRefusal> {
    let found = keys.iter().find(|key| key.key_id == key_id);
    found.ok_or(KeyStageRefusal::Unknown)
}
