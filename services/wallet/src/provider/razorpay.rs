mod wire;

use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use talktime_kit::error::chain;

use crate::domain::WalletError;
use crate::domain::order_evaluation::CURRENCY;
use crate::domain::provider_payment::{OrderBuyer, PaymentNotice, ReportedOrder, ReportedPayment};

/// The timeout of one request, shorter than the deadline that the gateway sets.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Razorpay refunds payments that are not captured within three days.
const CAPTURED_WITHIN_MINUTES: u32 = 3 * 24 * 60;
/// Orders of one page, the most that the API gives.
const PAGE_ORDERS: usize = 100;
/// Pages that one listing reads, at most: a million orders.
const PAGES_MAX: usize = 10_000;

/// The account at Razorpay.
#[derive(Clone, Debug, Deserialize)]
pub struct RazorpayConfig {
    /// The public half of the API key.
    pub key_id: String,
    /// The secret half; also signs what the checkout hands to the app.
    pub key_secret: SecretString,
    /// Signs webhooks.
    pub webhook_secret: SecretString,
    /// The base address of the API.
    #[serde(default = "default_api_url")]
    pub api_url: String,
}

fn default_api_url() -> String {
    "https://api.razorpay.com/v1".to_owned()
}

/// A client of the API. Its `Debug` output contains no secret.
#[derive(Debug)]
pub struct RazorpayClient {
    http: reqwest::Client,
    key_id: String,
    key_secret: SecretString,
    api_url: String,
    proof_key: hmac::Key,
    notice_key: hmac::Key,
}

#[derive(Serialize)]
struct RazorpayOrderRequest<'a> {
    /// In paise.
    amount: i64,
    currency: &'static str,
    receipt: &'a str,
    notes: wire::OrderNotes,
    payment: RazorpayCaptureSettings,
}

/// Overrides the account's settings: an authorized payment is captured without a request of ours.
#[derive(Serialize)]
struct RazorpayCaptureSettings {
    capture: &'static str,
    capture_options: RazorpayCaptureOptions,
}

#[derive(Serialize)]
struct RazorpayCaptureOptions {
    automatic_expiry_period: u32,
    refund_speed: &'static str,
}

const AUTOMATIC_CAPTURE: RazorpayCaptureSettings = RazorpayCaptureSettings {
    capture: "automatic",
    capture_options: RazorpayCaptureOptions {
        automatic_expiry_period: CAPTURED_WITHIN_MINUTES,
        refund_speed: "normal",
    },
};

#[derive(Deserialize)]
struct RazorpayOrderReply {
    id: String,
}

impl RazorpayClient {
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
        buyer: OrderBuyer,
    ) -> Result<String, WalletError> {
        let order = RazorpayOrderRequest {
            amount: amount_paise,
            currency: CURRENCY,
            receipt,
            notes: buyer.into(),
            payment: AUTOMATIC_CAPTURE,
        };
        let request = self.http.post(format!("{}/orders", self.api_url));
        let order: RazorpayOrderReply = self.send_request(request.json(&order)).await?;
        Ok(order.id)
    }

    pub(super) async fn list_payments(
        &self,
        order_id: &str,
    ) -> Result<Vec<ReportedPayment>, WalletError> {
        let url = format!("{}/orders/{order_id}/payments", self.api_url);
        let payments: wire::RazorpayPaymentList = self.send_request(self.http.get(url)).await?;
        let reports = payments.items.into_iter().filter_map(|item| {
            let report = wire::read_payment(item);
            if report.is_none() {
                tracing::warn!(
                    order_id,
                    "failed to read a payment of an order; skipping it"
                );
            }
            report
        });
        // The answer is about one order, whatever its items claim.
        Ok(reports
            .filter(|report| report.order_id == order_id)
            .collect())
    }

    /// "Fetch all orders", page by page.
    pub(super) async fn list_orders(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ReportedOrder>, WalletError> {
        let url = format!("{}/orders", self.api_url);
        let mut orders = Vec::new();
        for page in 0..PAGES_MAX {
            let query = [
                ("from", since.timestamp().to_string()),
                ("to", until.timestamp().to_string()),
                ("count", PAGE_ORDERS.to_string()),
                ("skip", (page * PAGE_ORDERS).to_string()),
            ];
            let list: wire::OrderList =
                self.send_request(self.http.get(&url).query(&query)).await?;
            let is_last = list.items.len() < PAGE_ORDERS;
            orders.extend(list.items.into_iter().filter_map(wire::read_order));
            if is_last {
                return Ok(orders);
            }
        }
        Err(WalletError::ProviderUnavailable(
            "the list of orders does not end".to_owned(),
        ))
    }

    async fn send_request<T: for<'de> Deserialize<'de>>(
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
    pub(super) fn is_proof_signed(
        &self,
        order_id: &str,
        payment_id: &str,
        signature: &str,
    ) -> bool {
        let signed = format!("{order_id}|{payment_id}");
        is_signed(&self.proof_key, signed.as_bytes(), signature)
    }

    /// "Validate webhooks": HMAC-SHA256 over the body as it came.
    pub(super) fn read_notice(
        &self,
        body: &[u8],
        signature: &str,
    ) -> Result<PaymentNotice, WalletError> {
        if !is_signed(&self.notice_key, body, signature) {
            return Err(WalletError::ForgedNotice);
        }
        Ok(wire::read_notice(body))
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

    fn razorpay() -> RazorpayClient {
        RazorpayClient::new(&RazorpayConfig {
            key_id: "rzp_test_1".to_owned(),
            key_secret: "EnLs21M47BllR3X8PSFtjtbd".into(),
            webhook_secret: "webhook secret".into(),
            api_url: default_api_url(),
        })
        .expect("a client")
    }

    /// Made apart, with `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_proves_its_own_order_and_payment_alone() {
        let signature = "0d4e745a1838664ad6c9c9902212a32d627d68e917290b0ad5f08ff4561bc50f";
        let vouches =
            |order, payment, signature| razorpay().is_proof_signed(order, payment, signature);
        let (order, payment) = ("order_IEIaMR65cu6nz3", "pay_IH4NVgf4Dreq1l");
        assert!(vouches(order, payment, signature));
        assert!(!vouches(order, "pay_IH4NVgf4Dreq1m", signature));
        assert!(!vouches("order_IEIaMR65cu6nz4", payment, signature));
        for wrong in ["", "00", "not hex", &signature[2..]] {
            assert!(!vouches(order, payment, wrong), "{wrong}");
        }
    }

    #[test]
    fn an_unsigned_notification_is_refused() {
        let forged = razorpay().read_notice(b"{}", &"0".repeat(64));
        assert!(matches!(forged, Err(WalletError::ForgedNotice)));
    }

    #[test]
    fn debug_output_hides_secrets() {
        let shown = format!("{:?}", razorpay());
        assert!(!shown.contains("EnLs21M47BllR3X8PSFtjtbd"), "{shown}");
        assert!(!shown.contains("webhook secret"), "{shown}");
    }
}
