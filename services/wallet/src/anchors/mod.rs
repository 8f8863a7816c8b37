//! The log of anchors: it grows by an anchor an hour, and proves that no chain was rewritten behind one.

mod storage;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

use crate::config::LedgerAnchorsConfig;
use crate::domain::anchor::{
    AnchorSigner, AnchorVerifier, AnchoredHead, LedgerAnchor, hash_stored,
};
use crate::store::{accounts, anchored_heads};

pub use storage::{AnchorBucket, AnchorStorage};

/// Heads in one anchor, which has some megabytes then.
pub const HEADS_MAX: usize = 50_000;
/// Differences that are named, at most.
const DIFFERENCES_MAX: usize = 100;

/// Appends anchors and compares them with the chains.
pub struct AnchorLog {
    storage: AnchorStorage,
    /// None where anchors are verified only.
    signer: Option<AnchorSigner>,
    verifier: AnchorVerifier,
}

/// A stored anchor whose signature was verified, and the hash by which the next one names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredAnchor {
    pub anchor: LedgerAnchor,
    pub hash: String,
}

/// The result of comparing all anchors with the chains.
#[derive(Debug, Default)]
pub struct AnchorReport {
    /// Anchors whose signatures and order were verified.
    pub anchors: u64,
    /// The number of anchors from before the last restoration, whose heads were not compared.
    pub anchors_before_restoration: u64,
    /// When the newest one was made.
    pub newest_at: Option<DateTime<Utc>>,
    /// A sentence for each difference.
    pub differences: Vec<String>,
}

impl AnchorLog {
    /// Returns the configured log.
    ///
    /// # Errors
    /// A key cannot be read, both keys do not belong together, or it is not clear where anchors are kept.
    pub fn open(config: &LedgerAnchorsConfig) -> anyhow::Result<Self> {
        let signer = config.read_signer()?;
        let configured = config.public_key.as_deref().map(AnchorVerifier::from_hex);
        let configured = configured.transpose().context("anchors.public_key")?;
        let own = signer.as_ref().map(AnchorSigner::verifier).transpose()?;
        let verifier = match (configured, own) {
            (Some(configured), Some(own)) => {
                ensure!(
                    configured == own,
                    "anchors.public_key is not that of anchors.key_file"
                );
                configured
            }
            (Some(verifier), None) | (None, Some(verifier)) => verifier,
            (None, None) => bail!("anchors.key_file or anchors.public_key must be set"),
        };
        Ok(Self::new(config.open_storage()?, signer, verifier))
    }

    pub fn new(
        storage: AnchorStorage,
        signer: Option<AnchorSigner>,
        verifier: AnchorVerifier,
    ) -> Self {
        Self {
            storage,
            signer,
            verifier,
        }
    }

    /// Finds the newest anchor.
    pub async fn find_last(&self) -> anyhow::Result<Option<StoredAnchor>> {
        let mut last = 0;
        while let Some(number) = self.storage.list_after(last).await?.last() {
            last = *number;
        }
        if last == 0 {
            return Ok(None);
        }
        self.read(last).await.map(Some)
    }

    /// Returns the instant up to which the heads of all chains are anchored, `last` being the newest anchor. A turn writes
    /// anchors of [`HEADS_MAX`] heads and at the end one with the rest; if it fails between two of them, the newest one is
    /// full, and the heads after it are missing.
    pub async fn find_complete_until(&self, last: &LedgerAnchor) -> anyhow::Result<DateTime<Utc>> {
        if last.heads.len() < HEADS_MAX {
            return Ok(last.anchored_at);
        }
        let mut begins_anew = last.begins_anew;
        for number in (1..last.number).rev() {
            if begins_anew {
                break;
            }
            let earlier = self.read(number).await?.anchor;
            if earlier.heads.len() < HEADS_MAX {
                return Ok(earlier.anchored_at);
            }
            begins_anew = earlier.begins_anew;
        }
        Ok(DateTime::UNIX_EPOCH)
    }

    async fn read(&self, number: u64) -> anyhow::Result<StoredAnchor> {
        let stored = self.storage.read(number).await?;
        let anchor = self.verifier.open(&stored);
        let anchor = anchor.map_err(|error| anyhow::anyhow!("anchor {number} {error}"))?;
        ensure!(
            anchor.number == number,
            "anchor {number} says that it is {}",
            anchor.number
        );
        Ok(StoredAnchor {
            anchor,
            hash: hash_stored(&stored),
        })
    }

    /// Appends anchors of these heads after `last`, the newest one: one even if there are no heads, as a sign of life.
    pub async fn append(
        &self,
        last: Option<StoredAnchor>,
        heads: &[AnchoredHead],
        begins_anew: bool,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let signer = self
            .signer
            .as_ref()
            .context("anchors.key_file is not set")?;
        let (mut number, mut previous) =
            last.map_or((0, String::new()), |last| (last.anchor.number, last.hash));
        let first = number + 1;
        let chunks = heads.chunks(HEADS_MAX).map(<[AnchoredHead]>::to_vec);
        let nothing = heads.is_empty().then(Vec::new);
        for heads in chunks.chain(nothing) {
            number += 1;
            let stored = signer.sign(&LedgerAnchor {
                number,
                previous,
                anchored_at: now,
                begins_anew: begins_anew && number == first,
                heads,
            })?;
            previous = hash_stored(&stored);
            self.storage.create(number, stored, now).await?;
        }
        Ok(())
    }

    /// Appends anchors of all chains, after the database was restored to a moment of the past.
    pub async fn begin_anew(
        &self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let last = self.find_last().await?;
        let heads = list_heads_since(connection, DateTime::UNIX_EPOCH).await?;
        self.append(last, &heads, true, now).await
    }

    /// Verifies the signatures and the order of all anchors, and compares their heads with the chains.
    pub async fn verify(&self, connection: &mut PgConnection) -> anyhow::Result<AnchorReport> {
        let mut report = AnchorReport::default();
        let mut rewritten = Vec::new();
        let mut previous = String::new();
        loop {
            let numbers = self.storage.list_after(report.anchors).await?;
            if numbers.is_empty() {
                break;
            }
            for number in numbers {
                let expected = report.anchors + 1;
                ensure!(number == expected, "anchor {expected} is missing");
                let stored = self.read(number).await?;
                if stored.anchor.previous != previous {
                    let sentence = format!("anchor {number} does not follow the one before it");
                    report.differences.push(sentence);
                }
                if stored.anchor.begins_anew {
                    report.anchors_before_restoration = report.anchors;
                    rewritten.clear();
                }
                rewritten.extend(find_rewritten(connection, &stored.anchor).await?);
                rewritten.truncate(DIFFERENCES_MAX);
                report.anchors = number;
                report.newest_at = Some(stored.anchor.anchored_at);
                previous = stored.hash;
            }
        }
        report.differences.extend(rewritten);
        Ok(report)
    }
}

/// Lists the ends of the chains that have grown since an instant, of one snapshot.
pub async fn list_heads_since(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<AnchoredHead>> {
    accounts::begin_snapshot(connection).await?;
    let heads = anchored_heads::list_since(connection, since).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(heads)
}

/// Describes the chains that no longer have the link that an anchor names.
pub async fn find_rewritten(
    connection: &mut PgConnection,
    anchor: &LedgerAnchor,
) -> sqlx::Result<Vec<String>> {
    accounts::begin_snapshot(connection).await?;
    let owners = anchored_heads::find_rewritten(connection, &anchor.heads).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    let (number, at) = (anchor.number, anchor.anchored_at);
    let describe = |owner_id| {
        format!("the chain of user {owner_id} was rewritten after anchor {number} of {at}")
    };
    Ok(owners.into_iter().map(describe).collect())
}
