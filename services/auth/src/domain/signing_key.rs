//! The life of a key that signs tokens: published, signing, verifying what it signed, retired.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// The time within which all replicas of auth load a new key; a gateway that does not have it requests it. No
/// key signs sooner, even after a leak.
pub const SPREAD_MIN: TimeDelta = TimeDelta::seconds(5);

/// A signing key with the instants of its stages, by the database's clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub key_id: String,
    /// The instant of its publication.
    pub published_at: DateTime<Utc>,
    /// The instant at which it began to sign.
    pub signs_from: Option<DateTime<Utc>>,
    /// The instant at which another key took over.
    pub signs_until: Option<DateTime<Utc>>,
    /// The instant from which its tokens are refused.
    pub retired_at: Option<DateTime<Utc>>,
}

/// The stage of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigningKeyStage {
    /// Known to everybody; has signed nothing.
    Published,
    /// Signs every new token.
    Signing,
    /// Signs no new tokens; its tokens are still valid.
    Verifying,
    /// Its tokens are refused.
    Retired,
}

impl fmt::Display for SigningKeyStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Retired => "retired",
        })
    }
}

/// The reason why a key cannot change its stage.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyStageRefusal {
    /// No key of this id.
    #[error("there is no such key; `keys list` shows them all")]
    Unknown,
    /// Only a key that has signed nothing can begin to sign.
    #[error("the key is {0} and cannot begin to sign")]
    CannotSign(SigningKeyStage),
    /// The signing key cannot be retired.
    #[error("the key is {0} and cannot be retired; let another one sign first")]
    CannotRetire(SigningKeyStage),
    /// Not every replica and gateway has the key yet.
    #[error("not everybody knows the key yet: it may sign from {0}")]
    SignsLater(DateTime<Utc>),
    /// Tokens of the key may still be valid.
    #[error("tokens of the key may be in use until {0}; retiring it sooner logs their holders out")]
    RetiresLater(DateTime<Utc>),
}

impl SigningKey {
    /// The current stage.
    pub fn stage(&self) -> SigningKeyStage {
        match (self.signs_from, self.signs_until, self.retired_at) {
            (_, _, Some(_)) => SigningKeyStage::Retired,
            (_, Some(_), None) => SigningKeyStage::Verifying,
            (Some(_), None, None) => SigningKeyStage::Signing,
            (None, None, None) => SigningKeyStage::Published,
        }
    }

    /// The instant at which the current stage began.
    pub fn stage_since(&self) -> DateTime<Utc> {
        self.retired_at
            .or(self.signs_until)
            .or(self.signs_from)
            .unwrap_or(self.published_at)
    }

    /// Refuses a key that may not begin to sign yet. Every process knows it when `known_after` has passed since
    /// its publication.
    pub fn check_may_sign(
        &self,
        now: DateTime<Utc>,
        known_after: TimeDelta,
    ) -> Result<(), KeyStageRefusal> {
        let stage = self.stage();
        if stage != SigningKeyStage::Published {
            return Err(KeyStageRefusal::CannotSign(stage));
        }
        let from = self.published_at + known_after.max(SPREAD_MIN);
        if now < from {
            return Err(KeyStageRefusal::SignsLater(from));
        }
        Ok(())
    }

    /// Refuses a key that may not be retired yet, if its last token was valid for `lifetime`. A key that has
    /// signed nothing may be retired at any time.
    pub fn check_may_retire(
        &self,
        now: DateTime<Utc>,
        lifetime: TimeDelta,
    ) -> Result<(), KeyStageRefusal> {
        match (self.stage(), self.signs_until) {
            (SigningKeyStage::Published, _) => Ok(()),
            (SigningKeyStage::Verifying, Some(signs_until)) => {
                // A replica may have signed with it until it loaded the next key.
                let from = signs_until + lifetime + SPREAD_MIN;
                if now < from && lifetime > TimeDelta::zero() {
                    return Err(KeyStageRefusal::RetiresLater(from));
                }
                Ok(())
            }
            (stage, _) => Err(KeyStageRefusal::CannotRetire(stage)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000 + secs, 0).expect("valid")
    }

    fn key(
        signs_from: Option<i64>,
        signs_until: Option<i64>,
        retired_at: Option<i64>,
    ) -> SigningKey {
        SigningKey {
            key_id: "k1".to_owned(),
            published_at: at(0),
            signs_from: signs_from.map(at),
            signs_until: signs_until.map(at),
            retired_at: retired_at.map(at),
        }
    }

    #[test]
    fn a_key_signs_only_after_its_publication_has_spread() {
        let wait = TimeDelta::seconds(300);
        let published = key(None, None, None);
        let refused = published.check_may_sign(at(299), wait);
        assert_eq!(refused, Err(KeyStageRefusal::SignsLater(at(300))));
        assert_eq!(published.check_may_sign(at(300), wait), Ok(()));
        let hurry = TimeDelta::zero();
        let refused = published.check_may_sign(at(4), hurry);
        assert_eq!(refused, Err(KeyStageRefusal::SignsLater(at(5))));
        assert_eq!(published.check_may_sign(at(5), hurry), Ok(()));
    }

    #[test]
    fn a_key_signs_once() {
        for (key, stage) in [
            (key(Some(1), None, None), SigningKeyStage::Signing),
            (key(Some(1), Some(2), None), SigningKeyStage::Verifying),
            (key(Some(1), Some(2), Some(3)), SigningKeyStage::Retired),
        ] {
            let refused = key.check_may_sign(at(900), TimeDelta::zero());
            assert_eq!(refused, Err(KeyStageRefusal::CannotSign(stage)));
        }
    }

    #[test]
    fn a_key_is_retired_when_its_last_token_has_expired() {
        let lifetime = TimeDelta::days(30);
        let verifying = key(Some(1), Some(2), None);
        let from = at(2) + lifetime + SPREAD_MIN;
        let refused = verifying.check_may_retire(from - TimeDelta::seconds(1), lifetime);
        assert_eq!(refused, Err(KeyStageRefusal::RetiresLater(from)));
        assert_eq!(verifying.check_may_retire(from, lifetime), Ok(()));
        assert_eq!(verifying.check_may_retire(at(2), TimeDelta::zero()), Ok(()));
        assert_eq!(
            key(None, None, None).check_may_retire(at(1), lifetime),
            Ok(())
        );
        for (key, stage) in [
            (key(Some(1), None, None), SigningKeyStage::Signing),
            (key(Some(1), Some(2), Some(3)), SigningKeyStage::Retired),
        ] {
            let refused = key.check_may_retire(at(900), TimeDelta::zero());
            assert_eq!(refused, Err(KeyStageRefusal::CannotRetire(stage)));
        }
    }
}
