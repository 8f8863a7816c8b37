//! Notifications of the provider. Each one that is signed is answered as received, since a provider stops
//! notifying a receiver that refuses; those that are of no use are logged and counted.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use talktime_kit::failpoint;

use super::WalletLedger;
use super::booking::book_reports;
use crate::domain::WalletError;
use crate::metrics::{self, IgnoredPaymentNotice, PaymentAlert};
use crate::store::payments;

/// Longer than any provider repeats a notification.
const EVENTS_KEPT: TimeDelta = TimeDelta::days(30);
const DELETED_AT_ONCE: i64 = 1_000;
/// Longest id and longest type of a notification that are stored.
const EVENT_ID_LENGTH_MAX: usize = 200;
const EVENT_TYPE_LENGTH_MAX: usize = 100;

impl WalletLedger {
    /// Books what a signed notification reports, once, however often it comes.
    ///
    /// # Errors
    /// `ForgedNotice` if the provider did not sign it; a failure of the store, after which the provider
    /// is to send it again.
    pub async fn handle_payment_notice(
        &self,
        body: &[u8],
        signature: &str,
        event_id: &str,
    ) -> Result<(), WalletError> {
        let notice = self.provider.read_notice(body, signature)?;
        let event_type = storable_text(&notice.event_type);
        let Some(report) = notice.report else {
            tracing::info!(
                event_type,
                "ignoring a notification that reports no payment"
            );
            metrics::record_ignored_notice(IgnoredPaymentNotice::Irrelevant);
            return Ok(());
        };
        let now = self.clock.now();
        let event_id = storable_event_id(event_id, body);
        let order_id = report.payment.order_id.clone();
        let mut tx = self.db.begin().await?;
        let provider = self.provider.name();
        if !payments::insert_event(&mut tx, provider, &event_id, &event_type, now).await? {
            metrics::record_ignored_notice(IgnoredPaymentNotice::Repeated);
            return Ok(());
        }
        let payment_id = report.payment.payment_id.clone();
        let booked = book_reports(&mut tx, now, &order_id, &[report]).await;
        let booking = match booked {
            Ok(booking) => booking,
            Err(error @ WalletError::Other(_)) => return Err(error),
            Err(error) => {
                tracing::error!(
                    %error,
                    order_id,
                    payment_id,
                    "failed to book a payment; it has to be refunded"
                );
                PaymentAlert::Refused.raise(&order_id, &payment_id);
                return Ok(());
            }
        };
        failpoint::reach("wallet.notice.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.notice.committed");
        booking.raise_alerts(&order_id);
        self.relay.wake();
        Ok(())
    }

    /// Forgets notifications that the provider does not send again.
    pub async fn delete_old_notices(&self) -> Result<(), WalletError> {
        let before = self.clock.now() - EVENTS_KEPT;
        loop {
            let mut tx = self.db.begin().await?;
            let deleted = payments::delete_events(&mut tx, before, DELETED_AT_ONCE).await?;
            tx.commit().await?;
            if deleted < DELETED_AT_ONCE.unsigned_abs() {
                return Ok(());
            }
        }
    }
}

/// The provider's id of a notification; for one that came without a usable id, what its body is.
fn storable_event_id(event_id: &str, body: &[u8]) -> String {
    let is_usable = (1..=EVENT_ID_LENGTH_MAX).contains(&event_id.len());
    if is_usable && event_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return event_id.to_owned();
    }
    format!("body/{}", hex::encode(Sha256::digest(body)))
}

/// Text of the provider's as the store and the log can hold it.
fn storable_text(text: &str) -> String {
    let printable = text.chars().filter(|character| !character.is_control());
    printable.take(EVENT_TYPE_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_without_a_usable_id_gets_the_hash_of_its_body() {
        assert_eq!(storable_event_id("event_1", b"{}"), "event_1");
        let known = storable_event_id("", b"{}");
        for event_id in ["with space", &"x".repeat(201)] {
            assert_eq!(storable_event_id(event_id, b"{}"), known);
        }
        assert_ne!(storable_event_id("", b"[]"), known);
    }

    #[test]
    fn characters_that_the_store_cannot_hold_are_removed_from_a_type() {
        assert_eq!(storable_text("new\0.event\n"), "new.event");
        assert_eq!(storable_text(&"é".repeat(200)).chars().count(), 100);
    }
}
