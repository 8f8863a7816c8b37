//! The calls service's own settings.

use anyhow::ensure;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use talktime_kit::config::RedisConfig;

use crate::domain::badge::{BadgeCard, BadgeTerms};
use crate::domain::call::CallType;
use crate::domain::steps::SagaLimits;

/// The calls service's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Services that calls are made of.
    pub peers: PeersConfig,
    /// Where live calls are shown.
    pub redis: RedisConfig,
    /// Length of a billed minute in seconds: 60, or less in demonstrations and tests.
    #[serde(default = "default_minute_secs")]
    pub minute_secs: u32,
    /// How long a call goes on while its next minute cannot be charged, because the wallet or this
    /// service is away, in seconds; then it has ended at the end of its last paid minute.
    #[serde(default = "default_unpaid_grace_secs")]
    pub unpaid_grace_secs: u32,
    /// How long after its start a caller may cancel a call at no cost, in seconds, but never beyond
    /// its first minute; zero: every call costs a minute.
    #[serde(default)]
    pub cancel_grace_secs: u32,
    /// How long both sides of a call may show no sign of life, in seconds; then it has ended at the
    /// last one. Apps send one each minute.
    #[serde(default = "default_silence_max_secs")]
    pub silence_max_secs: u32,
    /// What a minute costs the caller.
    #[serde(default)]
    pub coins_per_minute: CoinRates,
    /// What a minute earns the listener.
    #[serde(default)]
    pub listener_paise_per_minute: ListenerRates,
    /// What badges above the basic one take and give (contract, section 10).
    #[serde(default)]
    pub badges: BadgesConfig,
    /// What a coin cost the caller, in paise.
    #[serde(default = "default_paise_per_coin")]
    pub paise_per_coin: u32,
}

/// Addresses of the other services, `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// Profile.
    pub profile: String,
    /// Presence.
    pub presence: String,
    /// Wallet.
    pub wallet: String,
}

/// Coins a minute (contract, section 7).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct CoinRates {
    /// Of an audio call.
    pub audio: u32,
    /// Of a video call.
    pub video: u32,
}

impl Default for CoinRates {
    fn default() -> Self {
        Self {
            audio: 10,
            video: 60,
        }
    }
}

/// Paise a minute of a listener with the basic badge (contract, section 10).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct ListenerRates {
    /// Of an audio call.
    pub audio: u32,
    /// Of a video call.
    pub video: u32,
}

impl Default for ListenerRates {
    fn default() -> Self {
        Self {
            audio: 100,
            video: 600,
        }
    }
}

/// Badges above the basic one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct BadgesConfig {
    /// The first.
    pub bronze: BadgeTerms,
    /// The second.
    pub silver: BadgeTerms,
    /// The highest.
    pub gold: BadgeTerms,
}

impl Default for BadgesConfig {
    fn default() -> Self {
        let terms = |hours, audio_paise, video_paise| BadgeTerms {
            hours,
            audio_paise,
            video_paise,
        };
        Self {
            bronze: terms(3, 125, 700),
            silver: terms(6, 150, 850),
            gold: terms(9, 180, 1_000),
        }
    }
}

const fn default_minute_secs() -> u32 {
    60
}

const fn default_unpaid_grace_secs() -> u32 {
    30
}

/// Far more than the five minutes after which presence takes somebody to be offline.
const fn default_silence_max_secs() -> u32 {
    900
}

const fn default_paise_per_coin() -> u32 {
    50
}

/// What calls cost and earn now.
#[derive(Clone, Copy, Debug)]
pub struct CallTerms {
    /// Length of a billed minute in seconds.
    pub minute_secs: i32,
    /// How long things may take.
    pub limits: SagaLimits,
    /// What a coin cost the caller, in paise.
    pub paise_per_coin: i64,
    /// What listeners earn, by badge.
    pub badges: BadgeCard,
    coins: CoinRates,
}

impl CallTerms {
    /// Coins a minute.
    pub fn coins_per_minute(&self, call_type: CallType) -> i64 {
        i64::from(match call_type {
            CallType::Audio => self.coins.audio,
            CallType::Video => self.coins.video,
        })
    }

    /// Paise a minute for a listener without a badge.
    pub fn basic_paise_per_minute(&self, call_type: CallType) -> i64 {
        self.badges.basic.paise_per_minute(call_type)
    }

    /// All that a call's price hangs on, to tell one version of the prices from another.
    pub fn price_fields(&self) -> serde_json::Value {
        serde_json::json!({
            "minute_secs": self.minute_secs,
            "coins_per_minute": self.coins,
            "paise_per_coin": self.paise_per_coin,
            "listener_paise_per_minute": self.badges,
        })
    }
}

/// A day: no billed minute is longer.
const MINUTE_SECS_MAX: u32 = 86_400;

impl Config {
    /// Refuses settings under which no call could be billed.
    pub fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=MINUTE_SECS_MAX).contains(&self.minute_secs),
            "TALKTIME_CALLS__MINUTE_SECS must be 1 to {MINUTE_SECS_MAX}"
        );
        ensure!(
            self.coins_per_minute.audio > 0 && self.coins_per_minute.video > 0,
            "TALKTIME_CALLS__COINS_PER_MINUTE must be above zero"
        );
        ensure!(
            self.silence_max_secs > 0,
            "TALKTIME_CALLS__SILENCE_MAX_SECS must be above zero"
        );
        ensure!(
            self.build_badge_card().is_in_order(),
            "each of TALKTIME_CALLS__BADGES must take more hours than the one below it"
        );
        Ok(())
    }

    /// The terms of calls that start now.
    pub fn call_terms(&self) -> CallTerms {
        CallTerms {
            minute_secs: i32::try_from(self.minute_secs).unwrap_or(i32::MAX),
            limits: SagaLimits {
                unpaid_grace: TimeDelta::seconds(self.unpaid_grace_secs.into()),
                cancel_grace: TimeDelta::seconds(self.cancel_grace_secs.into()),
                silence_max: TimeDelta::seconds(self.silence_max_secs.into()),
            },
            paise_per_coin: self.paise_per_coin.into(),
            coins: self.coins_per_minute,
            badges: self.build_badge_card(),
        }
    }

    fn build_badge_card(&self) -> BadgeCard {
        let BadgesConfig {
            bronze,
            silver,
            gold,
        } = self.badges;
        let basic = BadgeTerms {
            hours: 0,
            audio_paise: self.listener_paise_per_minute.audio,
            video_paise: self.listener_paise_per_minute.video,
        };
        BadgeCard {
            basic,
            bronze,
            silver,
            gold,
        }
    }
}
