//! Payment providers: one interface with two implementations.

pub mod razorpay;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::WalletError;
use crate::domain::payment::SANDBOX;
use crate::domain::provider_payment::{OrderBuyer, PaymentNotice, ReportedOrder, ReportedPayment};
use razorpay::RazorpayClient;

/// A payment provider (contract, section 9); cheap to clone.
#[derive(Clone, Debug)]
pub enum PaymentProvider {
    /// Credits every order without money; for development only.
    Sandbox,
    /// Razorpay, with real money.
    Razorpay(Arc<RazorpayClient>),
}

/// An order that the provider knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisteredProviderOrder {
    /// Its id at the provider.
    pub order_id: String,
    /// The payment that pays it, where that is known from the start.
    pub payment_id: Option<String>,
}

impl PaymentProvider {
    /// Its name in the store.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sandbox => SANDBOX,
            Self::Razorpay(_) => "razorpay",
        }
    }

    /// The public key that the app needs for the checkout.
    pub fn public_key(&self) -> Option<&str> {
        match self {
            Self::Sandbox => None,
            Self::Razorpay(razorpay) => Some(razorpay.key_id()),
        }
    }

    /// Opens an order with the provider. `receipt` is a unique id of ours. The provider remembers the buyer,
    /// for a database that has lost the order.
    pub async fn open_order(
        &self,
        receipt: &str,
        amount_paise: i64,
        buyer: OrderBuyer,
    ) -> Result<RegisteredProviderOrder, WalletError> {
        match self {
            Self::Sandbox => Ok(RegisteredProviderOrder {
                order_id: format!("order_{receipt}"),
                payment_id: Some(format!("sandbox_{receipt}")),
            }),
            Self::Razorpay(razorpay) => Ok(RegisteredProviderOrder {
                order_id: razorpay.open_order(receipt, amount_paise, buyer).await?,
                payment_id: None,
            }),
        }
    }

    /// Lists every payment of an order in its current state.
    pub async fn list_payments(&self, order_id: &str) -> Result<Vec<ReportedPayment>, WalletError> {
        match self {
            // The sandbox reports its payment when it opens the order.
            Self::Sandbox => Ok(Vec::new()),
            Self::Razorpay(razorpay) => razorpay.list_payments(order_id).await,
        }
    }

    /// Lists every order that was opened between two instants.
    pub async fn list_orders(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ReportedOrder>, WalletError> {
        match self {
            // The sandbox keeps no books of its own.
            Self::Sandbox => Ok(Vec::new()),
            Self::Razorpay(razorpay) => razorpay.list_orders(since, until).await,
        }
    }

    /// Whether the provider signed that this payment paid this order.
    pub fn is_proof_signed(&self, order_id: &str, payment_id: &str, signature: &str) -> bool {
        match self {
            Self::Sandbox => false,
            Self::Razorpay(razorpay) => razorpay.is_proof_signed(order_id, payment_id, signature),
        }
    }

    /// Reads a notification. One that is signed but not understood names no payment.
    ///
    /// # Errors
    /// `ForgedNotice` if the provider did not sign it.
    pub fn read_notice(&self, body: &[u8], signature: &str) -> Result<PaymentNotice, WalletError> {
        match self {
            Self::Sandbox => Err(WalletError::NoSuchProvider),
            Self::Razorpay(razorpay) => razorpay.read_notice(body, signature),
        }
    }
}
