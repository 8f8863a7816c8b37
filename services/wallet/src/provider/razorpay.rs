//! Razorpay, as its documentation of the Orders API, of payment verification and of webhooks has it.

use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use talktime_kit::error::chain;

use crate::domain::WalletError;
use crate::domain::payment::{Arrived, Happening, Notice, Reversal, ReversalReason};

/// Shorter than what the gateway gives a request.
const TIMEOUT: Duration = Duration::from_secs(4);
/// All our prices are in rupees.
const CURRENCY: &str = "INR";

/// The account at Razorpay.
#[derive(Clone, Debug, Deserialize)]
pub struct RazorpayConfig {
    /// The public half of the API key.
    pub key_id: String,
    /// The secret half; also signs what the checkout hands to the app.
    pub key_secret: SecretString,
    /// Signs webhooks.
    pub webhook_secret: SecretString,
    /// Where the API is.
    #[serde(default = "default_api_url")]
    pub api_url: String,
}

fn default_api_url() -> String {
    "https://api.razorpay.com/v1".to_owned()
}

/// A client of the API. Its `Debug` shows no secret.
#[derive(Debug)]
pub struct Razorpay {
    http: reqwest::Client,
    key_id: String,
    key_secret: SecretString,
    api_url: String,
    proof_key: hmac::Key,
    notice_key: hmac::Key,
}

#[derive(Serialize)]
struct NewOrder<'a> {
    /// In paise.
    amount: i64,
    currency: &'static str,
    receipt: &'a str,
}

#[derive(Deserialize)]
struct Order {
    id: String,
}

#[derive(Deserialize)]
struct Payments {
    items: Vec<Payment>,
}

#[derive(Deserialize)]
struct Payment {
    id: String,
    /// In paise.
    amount: i64,
    currency: String,
    status: String,
    order_id: Option<String>,
    method: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
struct Payload {
    payment: Option<Entity<Payment>>,
    refund: Option<Entity<Refund>>,
    dispute: Option<Entity<Dispute>>,
}

#[derive(Deserialize)]
struct Entity<T> {
    entity: T,
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    /// In paise.
    amount: i64,
}

#[derive(Deserialize)]
struct Dispute {
    id: String,
    /// In paise.
    amount: i64,
}

impl Payment {
    /// What it means to us; none for a payment of no order, or in another currency.
    fn arrived(self) -> Option<Arrived> {
        let order_id = self.order_id?;
        (self.currency == CURRENCY).then_some(Arrived {
            order_id,
            payment_id: self.id,
            amount_paise: self.amount,
            method: self.method,
        })
    }

    /// Whether the money is ours. A refunded payment was captured before.
    fn is_captured(&self) -> bool {
        ["captured", "refunded"].contains(&self.status.as_str())
    }
}

impl Razorpay {
    /// A client for this account; connects when first used.
    pub fn new(config: &RazorpayConfig) -> anyhow::Result<Self> {
        let key = |secret: &SecretString| {
            hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes())
        };
        Ok(Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
            key_id: config.key_id.clone(),
            key_secret: config.key_secret.clone(),
            api_url: config.api_url.trim_end_matches('/').to_owned(),
            proof_key: key(&config.key_secret),
            notice_key: key(&config.webhook_secret),
        })
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(super) async fn open_order(
        &self,
        receipt: &str,
        amount_paise: i64,
    ) -> Result<String, WalletError> {
        let order = NewOrder {
            amount: amount_paise,
            currency: CURRENCY,
            receipt,
        };
        let request = self.http.post(format!("{}/orders", self.api_url));
        let order: Order = self.ask(request.json(&order)).await?;
        Ok(order.id)
    }

    pub(super) async fn payment_of(&self, order_id: &str) -> Result<Option<Arrived>, WalletError> {
        let url = format!("{}/orders/{order_id}/payments", self.api_url);
        let payments: Payments = self.ask(self.http.get(url)).await?;
        let captured = payments.items.into_iter().find(Payment::is_captured);
        Ok(captured.and_then(Payment::arrived))
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, WalletError> {
        let secret = self.key_secret.expose_secret();
        let response = request.basic_auth(&self.key_id, Some(secret)).send().await;
        let response = response.map_err(|error| unavailable(&error))?;
        if response.status() != StatusCode::OK {
            let status = response.status().to_string();
            return Err(WalletError::ProviderUnavailable(status));
        }
        response.json().await.map_err(|error| unavailable(&error))
    }

    /// "Verify payment signature": HMAC-SHA256 over `order_id|payment_id` with the secret half of the
    /// API key, compared in constant time.
    pub(super) fn vouches(&self, order_id: &str, payment_id: &str, signature: &str) -> bool {
        let signed = format!("{order_id}|{payment_id}");
        is_signed(&self.proof_key, signed.as_bytes(), signature)
    }

    /// "Validate webhooks": HMAC-SHA256 over the body as it came.
    pub(super) fn read_notice(&self, body: &[u8], signature: &str) -> Result<Notice, WalletError> {
        if !is_signed(&self.notice_key, body, signature) {
            return Err(WalletError::ForgedNotice);
        }
        let event: Event = serde_json::from_slice(body)
            .map_err(|_| WalletError::OutOfRange("the body of a notice"))?;
        Ok(Notice {
            happening: happening(&event.event, event.payload),
            event_type: event.event,
        })
    }
}

/// What an event means to us. All that we hear of names a payment; a reversal of one that has not
/// arrived here yet says by it that it did.
fn happening(event: &str, payload: Payload) -> Happening {
    let Payload {
        payment,
        refund,
        dispute,
    } = payload;
    let Some(arrived) = payment.and_then(|payment| payment.entity.arrived()) else {
        return Happening::Other;
    };
    match event {
        "payment.captured" | "order.paid" => Happening::Arrived(arrived),
        "refund.processed" => refund.map_or(Happening::Other, |refund| {
            let reversal = Reversal {
                reversal_id: refund.entity.id,
                amount_paise: refund.entity.amount,
                reason: ReversalReason::Refund,
            };
            Happening::Reversed(arrived, reversal)
        }),
        "payment.dispute.lost" => dispute.map_or(Happening::Other, |dispute| {
            let reversal = Reversal {
                reversal_id: dispute.entity.id,
                amount_paise: dispute.entity.amount,
                reason: ReversalReason::Chargeback,
            };
            Happening::Reversed(arrived, reversal)
        }),
        _ => Happening::Other,
    }
}

fn is_signed(key: &hmac::Key, message: &[u8], signature: &str) -> bool {
    hex::decode(signature).is_ok_and(|tag| hmac::verify(key, message, &tag).is_ok())
}

fn unavailable(error: &reqwest::Error) -> WalletError {
    WalletError::ProviderUnavailable(chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn razorpay() -> Razorpay {
        Razorpay::new(&RazorpayConfig {
            key_id: "rzp_test_1".to_owned(),
            key_secret: "EnLs21M47BllR3X8PSFtjtbd".into(),
            webhook_secret: "webhook secret".into(),
            api_url: default_api_url(),
        })
        .expect("a client")
    }

    /// Made apart, with `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_vouches_for_its_order_and_payment_alone() {
        let signature = "0d4e745a1838664ad6c9c9902212a32d627d68e917290b0ad5f08ff4561bc50f";
        let vouches = |order, payment, signature| razorpay().vouches(order, payment, signature);
        let (order, payment) = ("order_IEIaMR65cu6nz3", "pay_IH4NVgf4Dreq1l");
        assert!(vouches(order, payment, signature));
        assert!(!vouches(order, "pay_IH4NVgf4Dreq1m", signature));
        assert!(!vouches("order_IEIaMR65cu6nz4", payment, signature));
        for wrong in ["", "00", "not hex", &signature[2..]] {
            assert!(!vouches(order, payment, wrong), "{wrong}");
        }
    }

    fn read(body: &str) -> Result<Notice, WalletError> {
        let razorpay = razorpay();
        let tag = hmac::sign(&razorpay.notice_key, body.as_bytes());
        razorpay.read_notice(body.as_bytes(), &hex::encode(tag))
    }

    const PAYMENT: &str = r#""payment": {"entity": {"id": "pay_1", "entity": "payment", "amount": 15000,
        "currency": "INR", "status": "captured", "order_id": "order_1", "method": "upi"}}"#;

    fn happened(event: &str, payload: &str) -> Happening {
        let body =
            format!(r#"{{"entity": "event", "event": "{event}", "payload": {{{payload}}}}}"#);
        read(&body).expect("signed").happening
    }

    fn arrived() -> Arrived {
        Arrived {
            order_id: "order_1".to_owned(),
            payment_id: "pay_1".to_owned(),
            amount_paise: 15_000,
            method: Some("upi".to_owned()),
        }
    }

    #[test]
    fn events_are_read() {
        assert_eq!(
            happened("payment.captured", PAYMENT),
            Happening::Arrived(arrived())
        );
        let refund = r#", "refund": {"entity": {"id": "rfnd_1", "amount": 5000}}"#;
        let reversal = Reversal {
            reversal_id: "rfnd_1".to_owned(),
            amount_paise: 5_000,
            reason: ReversalReason::Refund,
        };
        assert_eq!(
            happened("refund.processed", &format!("{PAYMENT}{refund}")),
            Happening::Reversed(arrived(), reversal)
        );
        let dispute = r#", "dispute": {"entity": {"id": "disp_1", "amount": 15000}}"#;
        let payload = format!("{PAYMENT}{dispute}");
        assert!(matches!(
            happened("payment.dispute.lost", &payload),
            Happening::Reversed(
                _,
                Reversal {
                    reason: ReversalReason::Chargeback,
                    ..
                }
            )
        ));
    }

    #[test]
    fn what_moves_no_money_is_let_pass() {
        for event in [
            "payment.failed",
            "payment.dispute.created",
            "refund.created",
            "new.event",
        ] {
            assert_eq!(happened(event, PAYMENT), Happening::Other, "{event}");
        }
        assert_eq!(happened("payment.captured", ""), Happening::Other);
        let dollars = PAYMENT.replace("INR", "USD");
        assert_eq!(happened("payment.captured", &dollars), Happening::Other);
    }

    #[test]
    fn what_is_not_signed_is_not_read() {
        let razorpay = razorpay();
        let forged = razorpay.read_notice(b"{}", &"0".repeat(64));
        assert!(matches!(forged, Err(WalletError::ForgedNotice)));
        assert!(matches!(read("not JSON"), Err(WalletError::OutOfRange(_))));
    }

    #[test]
    fn a_log_never_shows_a_secret() {
        let shown = format!("{:?}", razorpay());
        assert!(!shown.contains("EnLs21M47BllR3X8PSFtjtbd"), "{shown}");
        assert!(!shown.contains("webhook secret"), "{shown}");
    }
}
