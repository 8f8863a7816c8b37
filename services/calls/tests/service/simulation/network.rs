//! Messages between the parts of the simulated system, of which some are lost, duplicated or late. After each
//! change the invariants are asserted.

use std::ops::Range;

use chrono::{DateTime, Utc};
use talktime_calls::domain::steps::MinuteChargeOutcome;

use super::checks;
use super::runtime::TaskOwner;
use super::wallet::{WalletAnswer, WalletRequest};
use super::world::{SimulatedWorld, UnknownOutcome};
use crate::model::ModelRows;

const TRAVEL_MS: Range<i64> = 1..40;
/// Time after which a missing answer counts as a timeout.
const TIMEOUT_MS: Range<i64> = 500..2_000;
const LATE_MS: Range<i64> = 100..20_000;
/// Share of lost and of duplicated messages while failures occur.
const ONE_IN_LOST: i64 = 12;
const ONE_IN_TWICE: i64 = 12;
/// Number of attempts, as in the service.
const TRIES: usize = 3;

impl SimulatedWorld {
    /// Runs a transaction, which happens at one instant or not at all. Its answer may be lost.
    pub(super) async fn transact<T>(
        &self,
        change: impl FnOnce(&mut ModelRows, DateTime<Utc>) -> T,
    ) -> Result<T, UnknownOutcome> {
        self.runtime.sleep(TRAVEL_MS).await;
        if self.is_lost() {
            self.runtime.sleep(TIMEOUT_MS).await;
            return Err(UnknownOutcome);
        }
        let now = self.database_now();
        let answer = change(&mut self.rows.borrow_mut(), now);
        checks::assert_invariants(self);
        self.runtime.sleep(TRAVEL_MS).await;
        if self.is_lost() {
            return Err(UnknownOutcome);
        }
        Ok(answer)
    }

    /// Sends a request to the wallet, with retries.
    pub(super) async fn ask_wallet(
        &self,
        request: WalletRequest,
    ) -> Result<WalletAnswer, UnknownOutcome> {
        for _ in 0..TRIES {
            if let Ok(answer) = self.ask_wallet_once(request.clone()).await {
                return Ok(answer);
            }
        }
        Err(UnknownOutcome)
    }

    async fn ask_wallet_once(
        &self,
        request: WalletRequest,
    ) -> Result<WalletAnswer, UnknownOutcome> {
        if self.is_rough.get() && self.runtime.one_in(ONE_IN_TWICE) {
            let (world, request) = (self.clone(), request.clone());
            self.runtime.spawn(TaskOwner::World, async move {
                world.runtime.sleep(LATE_MS).await;
                world.at_wallet(&request);
            });
        }
        self.runtime.sleep(TRAVEL_MS).await;
        let answer = if self.is_lost() {
            None
        } else {
            self.at_wallet(&request)
        };
        self.runtime.sleep(TRAVEL_MS).await;
        match answer {
            Some(answer) if !self.is_lost() => Ok(answer),
            _ => {
                self.runtime.sleep(TIMEOUT_MS).await;
                Err(UnknownOutcome)
            }
        }
    }

    fn at_wallet(&self, request: &WalletRequest) -> Option<WalletAnswer> {
        if !self.is_wallet_up.get() {
            return None;
        }
        checks::assert_not_charged_early(self, request);
        let answer = self.wallet.borrow_mut().answer(request.clone());
        if let (
            WalletRequest::Charge {
                call_id, minute, ..
            },
            WalletAnswer::Charge(MinuteChargeOutcome::Paid { .. }),
        ) = (request, &answer)
        {
            let mut charged_ms = self.charged_ms.borrow_mut();
            let now_ms = self.runtime.now_ms();
            charged_ms.entry((*call_id, *minute)).or_insert(now_ms);
        }
        self.log_line(|| format!("wallet: {request:?} -> {answer:?}"));
        checks::assert_invariants(self);
        Some(answer)
    }

    fn is_lost(&self) -> bool {
        self.is_rough.get() && !self.loses_rows && self.runtime.one_in(ONE_IN_LOST)
    }
}
