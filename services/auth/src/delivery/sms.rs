//! Text messages by Exotel's API for India: a message goes out only with the sender, the entity and the
//! template under which its text is registered with the operators (DLT).

use std::time::{Duration, Instant};

use anyhow::ensure;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use talktime_kit::breaker::{CircuitBreaker, CircuitChange};
use talktime_kit::config::DeploymentEnvironment;
use url::form_urlencoded::Serializer;

use super::{OtpDeliveryFailure, OtpMessage};
use crate::metrics::record_sms;

/// The placeholder of the password in the text.
const OTP_PLACE: &str = "{otp}";
/// Characters of an app hash.
const APP_HASH_LENGTH: usize = 11;
/// Longest message that Android passes to an app, bytes.
const RETRIEVED_BYTES_MAX: usize = 140;
const FORM: &str = "application/x-www-form-urlencoded";
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Shorter than the five seconds that the gateway gives a request.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// The account at the provider, with timeouts and limits.
#[derive(Clone, Debug, Deserialize)]
pub struct SmsProviderConfig {
    /// `https://api.in.exotel.com`, or the region of the account.
    pub url: String,
    /// The id of the account.
    pub account_sid: String,
    /// The key of the API.
    pub api_key: SecretString,
    /// The secret that belongs to the key.
    pub api_token: SecretString,
    /// The registered header that people see as sender, such as `TLKTIM`.
    pub sender_id: String,
    /// Our entity id at the operators (DLT).
    pub entity_id: String,
    /// The id of the registered text.
    pub template_id: String,
    /// The registered text with `{otp}` in place of the password. Operators refuse a text that differs.
    pub text: String,
    /// The hash by which Android passes the message to the app without asking its user: the 11 characters that
    /// the signing key of the app determines. It is appended to the text on a line of its own, so the text that
    /// is registered with the operators must end in it.
    #[serde(default)]
    pub app_hash: Option<String>,
    /// The timeout of one try, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u32,
    /// Tries for a message that the provider did not take.
    #[serde(default = "default_attempts_max")]
    pub attempts_max: u32,
    /// Failed messages in a row after which the breaker opens.
    #[serde(default = "default_failures_max")]
    pub failures_max: u32,
    /// Seconds for which the breaker stays open.
    #[serde(default = "default_pause_secs")]
    pub pause_secs: u32,
}

const fn default_timeout_ms() -> u32 {
    1_500
}

const fn default_attempts_max() -> u32 {
    2
}

const fn default_failures_max() -> u32 {
    5
}

const fn default_pause_secs() -> u32 {
    30
}

impl SmsProviderConfig {
    fn check(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
        ensure!(
            self.url.starts_with("https://") || environment == DeploymentEnvironment::Development,
            "TALKTIME_AUTH__SMS__URL must be https: passwords travel there"
        );
        ensure!(
            self.text.contains(OTP_PLACE),
            "TALKTIME_AUTH__SMS__TEXT must say where the password stands: {OTP_PLACE}"
        );
        self.check_app_hash()?;
        let longest = (self.timeout_ms + 100).saturating_mul(self.attempts_max);
        ensure!(
            self.attempts_max > 0 && Duration::from_millis(longest.into()) <= WAIT_MAX,
            "TALKTIME_AUTH__SMS__TIMEOUT_MS times ATTEMPTS_MAX must be less than {WAIT_MAX:?}"
        );
        Ok(())
    }

    fn check_app_hash(&self) -> anyhow::Result<()> {
        let Some(hash) = &self.app_hash else {
            return Ok(());
        };
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        ensure!(
            hash.len() == APP_HASH_LENGTH && hash.bytes().all(is_base64),
            "TALKTIME_AUTH__SMS__APP_HASH must have {APP_HASH_LENGTH} characters: letters, digits, + and /"
        );
        ensure!(
            self.render_text("000000").len() <= RETRIEVED_BYTES_MAX,
            "TALKTIME_AUTH__SMS__TEXT with APP_HASH must have at most {RETRIEVED_BYTES_MAX} bytes: Android \
             passes no longer message to the app"
        );
        Ok(())
    }

    /// Renders the text of a message.
    fn render_text(&self, otp: &str) -> String {
        let text = self.text.replace(OTP_PLACE, otp);
        match &self.app_hash {
            Some(hash) => format!("{text}\n{hash}"),
            None => text,
        }
    }
}

/// Sends text messages.
#[derive(Debug)]
pub struct SmsProviderClient {
    http: reqwest::Client,
    send_url: String,
    config: SmsProviderConfig,
    breaker: CircuitBreaker,
}

impl SmsProviderClient {
    /// A client of the provider.
    pub fn new(
        config: SmsProviderConfig,
        environment: DeploymentEnvironment,
    ) -> anyhow::Result<Self> {
        config.check(environment)?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(config.timeout_ms.into()))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let base = config.url.trim_end_matches('/');
        let account_sid = &config.account_sid;
        Ok(Self {
            http,
            send_url: format!("{base}/v1/Accounts/{account_sid}/Sms/send.json"),
            breaker: CircuitBreaker::new(
                config.failures_max,
                Duration::from_secs(config.pause_secs.into()),
            ),
            config,
        })
    }

    pub(super) fn check_open(&self) -> Result<(), OtpDeliveryFailure> {
        if self.breaker.is_open(Instant::now()) {
            return Err(OtpDeliveryFailure::NotSent);
        }
        Ok(())
    }

    pub(super) async fn send(&self, message: &OtpMessage) -> Result<(), OtpDeliveryFailure> {
        if !self.breaker.allows_call(Instant::now()) {
            record_sms("not_asked");
            return Err(OtpDeliveryFailure::NotSent);
        }
        let sent = self.send_with_retries(message).await;
        let change = match sent {
            Ok(()) | Err(OtpDeliveryFailure::Refused) => self.breaker.record_success(),
            Err(OtpDeliveryFailure::NotSent | OtpDeliveryFailure::Unknown) => {
                self.breaker.record_failure(Instant::now())
            }
        };
        if change == CircuitChange::Opened {
            tracing::warn!("circuit of the SMS provider opened; codes are refused for a while");
        }
        record_sms(match sent {
            Ok(()) => "sent",
            Err(OtpDeliveryFailure::Refused) => "refused",
            Err(OtpDeliveryFailure::NotSent) => "not_sent",
            Err(OtpDeliveryFailure::Unknown) => "unknown",
        });
        sent
    }

    /// Sends a message, with retries. Retrying after a missing answer is safe, since a phone may receive the
    /// same password twice.
    async fn send_with_retries(&self, message: &OtpMessage) -> Result<(), OtpDeliveryFailure> {
        let mut outcome = Err(OtpDeliveryFailure::NotSent);
        for attempt in 1..=self.config.attempts_max {
            let may_have_been_sent = outcome == Err(OtpDeliveryFailure::Unknown);
            outcome = self.send_once(message, attempt).await;
            match outcome {
                Ok(()) | Err(OtpDeliveryFailure::Refused) => return outcome,
                Err(OtpDeliveryFailure::NotSent) if may_have_been_sent => {
                    outcome = Err(OtpDeliveryFailure::Unknown);
                }
                Err(OtpDeliveryFailure::NotSent | OtpDeliveryFailure::Unknown) => {}
            }
            if attempt < self.config.attempts_max {
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
        outcome
    }

    async fn send_once(
        &self,
        message: &OtpMessage,
        attempt: u32,
    ) -> Result<(), OtpDeliveryFailure> {
        let phone_ends_in = message.phone.last_two_digits();
        let response = self
            .http
            .post(&self.send_url)
            .basic_auth(
                self.config.api_key.expose_secret(),
                Some(self.config.api_token.expose_secret()),
            )
            .header(CONTENT_TYPE, FORM)
            .body(self.form_body(message))
            .send()
            .await;
        let (outcome, reason) = match response {
            Ok(answer) => (
                classify_status(answer.status()),
                answer.status().to_string(),
            ),
            Err(error) if error.is_connect() => (
                Err(OtpDeliveryFailure::NotSent),
                error.without_url().to_string(),
            ),
            Err(error) => (
                Err(OtpDeliveryFailure::Unknown),
                error.without_url().to_string(),
            ),
        };
        if outcome.is_ok() {
            tracing::info!(phone_ends_in, "otp sent");
        } else {
            tracing::warn!(phone_ends_in, attempt, reason, "otp not sent");
        }
        outcome
    }

    fn form_body(&self, message: &OtpMessage) -> String {
        let text = self.config.render_text(message.otp.expose());
        Serializer::new(String::new())
            .append_pair("From", &self.config.sender_id)
            .append_pair("To", message.phone.as_str())
            .append_pair("Body", &text)
            .append_pair("DltEntityId", &self.config.entity_id)
            .append_pair("DltTemplateId", &self.config.template_id)
            .append_pair("SmsType", "transactional")
            // The provider reserves high priority for passwords.
            .append_pair("Priority", "high")
            .finish()
    }
}

/// Classifies an answer by its status alone, as the provider's documentation demands. After a server error
/// the message may have been accepted. A wrong account (401, 402, 403) and an exceeded rate (429) concern all
/// messages, other client errors only this one.
fn classify_status(status: StatusCode) -> Result<(), OtpDeliveryFailure> {
    match status.as_u16() {
        200..=299 => Ok(()),
        401..=403 | 429 => Err(OtpDeliveryFailure::NotSent),
        400..=499 => Err(OtpDeliveryFailure::Refused),
        _ => Err(OtpDeliveryFailure::Unknown),
    }
}
