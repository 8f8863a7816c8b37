//! Read-only history of calls: lists, totals, receipts, rates.

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use talktime_kit::paging::ListPageRequest;
use talktime_proto::wallet::charge_id;

use crate::domain::CallError;
use crate::domain::activity::PlatformActivity;
use crate::domain::call::CallType;
use crate::domain::evidence::{MediaQuality, MinuteVerdict};
use crate::service::CallService;
use crate::store::history::{self, UserCallTotals};
pub use crate::store::history::{CallHistoryEntry, CallHistoryFilter, MonthlyCallTotals};
use crate::store::minute_verdicts;

/// Number of recent calls in a summary.
const RECENT_CALLS: i64 = 5;
/// Maximum offset of a page: 100,000 calls.
const OFFSET_MAX: i64 = 100_000;

/// Summary of the calls of a user.
#[derive(Clone, Debug)]
pub struct CallHistorySummary {
    /// Totals over all calls.
    pub totals: UserCallTotals,
    /// The newest five calls.
    pub recent: Vec<CallHistoryEntry>,
    /// Totals of the last six months, newest first.
    pub months: Vec<MonthlyCallTotals>,
    /// Calls that began since Monday in India.
    pub calls_this_week: i64,
}

/// A paid minute of a receipt.
#[derive(Clone, Debug)]
pub struct ReceiptMinute {
    /// Number of the minute, from 1.
    pub minute: i32,
    pub begins_at: DateTime<Utc>,
    pub coins: i64,
    /// Id of the charge in the ledger of the wallet.
    pub transfer_id: String,
    /// Sound of the minute at the caller, once decided; `None` for a call that the apps carried themselves.
    pub media: Option<MediaQuality>,
    /// Whether the caller has the coins back.
    pub is_refunded: bool,
}

/// Price and earnings of a minute.
#[derive(Clone, Copy, Debug)]
pub struct MinuteRate {
    pub coins_per_minute: i64,
    /// Earnings of a listener with the basic badge, in paise.
    pub listener_paise_per_minute: i64,
}

impl CallService {
    /// Lists a page of the calls of a user, with totals over all that match.
    pub async fn list_calls(
        &self,
        filter: CallHistoryFilter,
        page: ListPageRequest,
    ) -> Result<(Vec<CallHistoryEntry>, UserCallTotals), CallError> {
        let offset = page.offset().min(OFFSET_MAX);
        let listed = self.reads.read(move |connection| {
            let listing = async move {
                let totals = history::load_totals(connection, filter).await?;
                let calls = history::list_page(connection, filter, page.limit(), offset).await?;
                Ok((calls, totals))
            };
            listing.boxed()
        });
        Ok(listed.await?)
    }

    /// Loads the summary of the calls of a user.
    pub async fn load_summary(&self, user_id: i64) -> Result<CallHistorySummary, CallError> {
        let all = CallHistoryFilter {
            user_id,
            call_type: None,
            status: None,
        };
        let now = self.clock.now();
        let summary = self.reads.read(move |connection| {
            let summarizing = async move {
                Ok(CallHistorySummary {
                    totals: history::load_totals(connection, all).await?,
                    recent: history::list_page(connection, all, RECENT_CALLS, 0).await?,
                    months: history::load_monthly_totals(connection, user_id, now).await?,
                    calls_this_week: history::count_this_week(connection, user_id, now).await?,
                })
            };
            summarizing.boxed()
        });
        Ok(summary.await?)
    }

    /// Loads a call with its minutes, for one of its parties.
    pub async fn load_receipt(
        &self,
        call_id: i64,
        user_id: i64,
    ) -> Result<(CallHistoryEntry, Vec<ReceiptMinute>), CallError> {
        let mut connection = self.db.acquire().await?;
        let call = history::find_call(&mut connection, call_id)
            .await?
            .ok_or(CallError::NoSuchCall)?;
        if ![call.user_id, call.listener_id].contains(&user_id) {
            return Err(CallError::NotAParty);
        }
        let verdicts = minute_verdicts::list_of_call(&mut connection, call_id).await?;
        let minutes = (1..=call.minutes_billed).map(|minute| {
            let mut verdicts = verdicts.iter();
            let verdict = verdicts.find(|verdict| verdict.minute == minute);
            receipt_minute(&call, minute, verdict)
        });
        let minutes = minutes.collect();
        Ok((call, minutes))
    }

    /// Returns the present price and earnings of a minute of this type.
    pub fn minute_rate(&self, call_type: CallType) -> MinuteRate {
        MinuteRate {
            coins_per_minute: self.terms.coins_per_minute(call_type),
            listener_paise_per_minute: self.terms.basic_paise_per_minute(call_type),
        }
    }

    /// Counts the calls of the platform now and today, exactly, as admins alone may know it.
    pub async fn load_activity(&self) -> Result<PlatformActivity, CallError> {
        let now = self.clock.now();
        let activity = self
            .reads
            .read(move |connection| history::load_activity(connection, now).boxed());
        Ok(activity.await?)
    }
}

fn receipt_minute(
    call: &CallHistoryEntry,
    minute: i32,
    verdict: Option<&MinuteVerdict>,
) -> ReceiptMinute {
    let before_secs = i64::from(minute - 1) * i64::from(call.minute_secs);
    ReceiptMinute {
        minute,
        begins_at: call.start_time + TimeDelta::seconds(before_secs),
        coins: call.coins_per_minute,
        transfer_id: charge_id(call.call_id, minute),
        media: verdict.map(|verdict| verdict.to_caller),
        is_refunded: verdict.is_some_and(|verdict| verdict.refund.is_some()),
    }
}
