//! Settings of the calls service.

use anyhow::ensure;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use talktime_kit::config::{DeploymentEnvironment, RedisConfig};

use crate::domain::badge::{BadgeCard, BadgeTerms};
use crate::domain::call::CallType;
use crate::domain::limits::SagaTimeLimits;
pub use crate::media_config::{MediaConfig, MediaTerms};
pub use crate::ringing_config::RingingConfig;

/// Settings of the calls service.
#[derive(Clone, Debug, Deserialize)]
pub struct CallsConfig {
    /// Addresses of the services that calls depend on.
    pub peers: PeerAddressConfig,
    /// Redis with the live-call tracker.
    pub redis: RedisConfig,
    /// Length of a billed minute in seconds: 60, or less in demonstrations and tests.
    #[serde(default = "default_minute_secs")]
    pub minute_secs: u32,
    /// Time in seconds for which a call goes on while its next minute cannot be charged because the wallet
    /// or this service is unavailable. After it the call has ended at the end of its last paid minute.
    #[serde(default = "default_unpaid_grace_secs")]
    pub unpaid_grace_secs: u32,
    /// Time in seconds after its start in which a caller may cancel a call free of charge, at most within
    /// the first minute. Zero: every call costs a minute.
    #[serde(default)]
    pub cancel_grace_secs: u32,
    /// Time in seconds for which both parties may show no sign of life. After it the call has ended at the
    /// last sign. Apps send a sign each minute.
    #[serde(default = "default_silence_max_secs")]
    pub silence_max_secs: u32,
    /// Price of a minute for the caller.
    #[serde(default)]
    pub coins_per_minute: CoinsPerMinute,
    /// Earnings of the listener per minute.
    #[serde(default)]
    pub listener_paise_per_minute: ListenerPaisePerMinute,
    /// Thresholds and rates of the badges above basic (contract, section 10).
    #[serde(default)]
    pub badges: BadgeTermsConfig,
    /// Price that the caller paid for a coin, in paise.
    #[serde(default = "default_paise_per_coin")]
    pub paise_per_coin: u32,
    /// Calls that ring before they begin.
    #[serde(default)]
    pub ringing: RingingConfig,
    /// Media that the platform carries.
    #[serde(default)]
    pub media: MediaConfig,
}

/// Addresses of the other services, `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// Auth signs the tokens of users, and knows who is an admin.
    pub auth: String,
    pub profile: String,
    pub presence: String,
    pub wallet: String,
}

/// Price of a minute in coins (contract, section 7).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct CoinsPerMinute {
    pub audio: u32,
    pub video: u32,
}

impl Default for CoinsPerMinute {
    fn default() -> Self {
        Self {
            audio: 10,
            video: 60,
        }
    }
}

/// Earnings per minute with the basic badge, in paise (contract, section 10).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct ListenerPaisePerMinute {
    pub audio: u32,
    pub video: u32,
}

impl Default for ListenerPaisePerMinute {
    fn default() -> Self {
        Self {
            audio: 100,
            video: 600,
        }
    }
}

/// Thresholds and rates of the badges above basic.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct BadgeTermsConfig {
    pub bronze: BadgeTerms,
    pub silver: BadgeTerms,
    pub gold: BadgeTerms,
}

impl Default for BadgeTermsConfig {
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

/// Much longer than the five minutes after which presence regards a person as offline.
const fn default_silence_max_secs() -> u32 {
    900
}

const fn default_paise_per_coin() -> u32 {
    50
}

/// Prices, earnings and time limits of calls that start now.
#[derive(Clone, Copy, Debug)]
pub struct CallTerms {
    /// Length of a billed minute in seconds.
    pub minute_secs: i32,
    /// Time limits of the saga.
    pub limits: SagaTimeLimits,
    /// Price that the caller paid for a coin, in paise.
    pub paise_per_coin: i64,
    /// Earnings of listeners by badge.
    pub badges: BadgeCard,
    /// Calls that ring before they begin.
    pub ringing: RingingConfig,
    /// Media that the platform carries.
    pub media: MediaTerms,
    coins: CoinsPerMinute,
}

impl CallTerms {
    /// Price of a minute in coins.
    pub fn coins_per_minute(&self, call_type: CallType) -> i64 {
        i64::from(match call_type {
            CallType::Audio => self.coins.audio,
            CallType::Video => self.coins.video,
        })
    }

    /// Earnings per minute of a listener without a badge, in paise.
    pub fn basic_paise_per_minute(&self, call_type: CallType) -> i64 {
        self.badges.basic.paise_per_minute(call_type)
    }

    /// Everything that determines the price of a call. It identifies a version of the prices.
    pub fn price_fields(&self) -> serde_json::Value {
        serde_json::json!({
            "minute_secs": self.minute_secs,
            "coins_per_minute": self.coins,
            "paise_per_coin": self.paise_per_coin,
            "listener_paise_per_minute": self.badges,
        })
    }
}

/// Longest billed minute in seconds: a day.
const MINUTE_SECS_MAX: u32 = 86_400;

impl CallsConfig {
    /// Refuses settings under which no call could be billed, and in production those that others could abuse.
    pub fn validate(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
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
        self.media.validate(environment)?;
        self.ringing.validate()
    }

    /// Returns the terms of calls that start now.
    pub fn call_terms(&self) -> CallTerms {
        CallTerms {
            minute_secs: i32::try_from(self.minute_secs).unwrap_or(i32::MAX),
            limits: SagaTimeLimits {
                unpaid_grace: TimeDelta::seconds(self.unpaid_grace_secs.into()),
                cancel_grace: TimeDelta::seconds(self.cancel_grace_secs.into()),
                silence_max: TimeDelta::seconds(self.silence_max_secs.into()),
                reach: TimeDelta::seconds(self.ringing.reach_secs.into()),
                connect: TimeDelta::seconds(self.ringing.connect_secs.into()),
                caller_silence_max: TimeDelta::seconds(self.ringing.caller_silence_secs.into()),
            },
            paise_per_coin: self.paise_per_coin.into(),
            coins: self.coins_per_minute,
            badges: self.build_badge_card(),
            ringing: self.ringing,
            media: self.media.media_terms(),
        }
    }

    fn build_badge_card(&self) -> BadgeCard {
        let BadgeTermsConfig {
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
