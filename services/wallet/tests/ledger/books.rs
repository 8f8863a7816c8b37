//! Books of one test's own, and what most tests do with them.

use chrono::DateTime;
use talktime_kit::Clock;
use talktime_kit::db::StandbyReads;
use talktime_kit::messaging::Relay;
use talktime_kit::testing::TestDatabase;
use talktime_wallet::SCHEMA;
use talktime_wallet::domain::WalletError;
use talktime_wallet::domain::charging::MinuteCharge;
use talktime_wallet::domain::history::TransactionType;
use talktime_wallet::domain::payment::{PaymentMethod, RateCard};
use talktime_wallet::domain::settlement::{CallSettlement, CallType};
use talktime_wallet::domain::withdrawal::WithdrawalLimits;
use talktime_wallet::ledger::{
    ChargeOutcome, CoinBonusGrant, LedgerParts, PaymentProof, RechargeRequest,
    RequestedCoinPurchase, SettlementOutcome, TracedRequest, WalletLedger, WalletTerms,
};
use talktime_wallet::provider::PaymentProvider;
use talktime_wallet::sealing::{BankDetailsConfig, BankDetailsSealer};
use talktime_wallet::store::accounts::find_differences;

pub(crate) const CALLER: i64 = 1;
pub(crate) const LISTENER: i64 = 2;
pub(crate) const CALL: i64 = 7;
pub(crate) const ADMIN: i64 = 90;

pub(crate) struct TestBooks {
    pub(crate) ledger: WalletLedger,
    pub(crate) database: TestDatabase,
    pub(crate) clock: Clock,
}

/// No limits, except that two admins must agree above a hundred rupees, and that a change of bank details delays
/// payouts for a day.
pub(crate) fn terms() -> WalletTerms {
    WalletTerms {
        rate_card: RateCard::default(),
        withdrawals: WithdrawalLimits {
            minimum_paise: 0,
            daily_paise: None,
            two_admins_above_paise: 10_000,
            bank_change_delay: chrono::TimeDelta::hours(24),
            delays_first_bank_details: false,
            earnings_hold: chrono::TimeDelta::zero(),
        },
        daily_bonus_coins: None,
        bonus_earns: false,
    }
}

/// Seals with the key of this id, which is sixty-four times this digit, and opens with the others.
pub(crate) fn sealer(key_id: &str, digit: char, retired_keys: Option<&str>) -> BankDetailsSealer {
    let config = BankDetailsConfig {
        key: digit.to_string().repeat(64).into(),
        key_id: key_id.to_owned(),
        retired_keys: retired_keys.map(Into::into),
    };
    BankDetailsSealer::new(&config).expect("valid keys")
}

impl TestBooks {
    pub(crate) async fn new() -> Self {
        Self::with_provider(terms(), PaymentProvider::Sandbox).await
    }

    pub(crate) async fn with_provider(terms: WalletTerms, provider: PaymentProvider) -> Self {
        Self::in_database(TestDatabase::new(SCHEMA).await, terms, provider)
    }

    /// Books whose tables exist.
    pub(crate) fn in_database(
        database: TestDatabase,
        terms: WalletTerms,
        provider: PaymentProvider,
    ) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_737_100_800, 0).expect("valid"));
        let ledger = WalletLedger::new(LedgerParts {
            db: database.app.clone(),
            reads: StandbyReads::of_primary(database.app.clone()),
            relay: Relay::default(),
            clock: clock.clone(),
            terms,
            sealer: sealer("1", 'a', None),
            provider,
        });
        Self {
            ledger,
            database,
            clock,
        }
    }

    /// Returns a ledger of these books whose bank details are sealed with other keys.
    pub(crate) fn with_sealer(&self, sealer: BankDetailsSealer) -> WalletLedger {
        let reads = StandbyReads::of_primary(self.database.app.clone());
        self.build_ledger(sealer, reads)
    }

    /// The same books, whose histories are read elsewhere.
    pub(crate) fn with_reads(&self, reads: StandbyReads) -> WalletLedger {
        self.build_ledger(sealer("1", 'a', None), reads)
    }

    fn build_ledger(&self, sealer: BankDetailsSealer, reads: StandbyReads) -> WalletLedger {
        WalletLedger::new(LedgerParts {
            db: self.database.app.clone(),
            reads,
            relay: Relay::default(),
            clock: self.clock.clone(),
            terms: terms(),
            sealer,
            provider: PaymentProvider::Sandbox,
        })
    }

    pub(crate) async fn recharge(&self, fresh_id: &str) {
        self.ledger
            .redeem_recharge(&recharge(fresh_id))
            .await
            .expect("on the card");
    }

    pub(crate) async fn charge(
        &self,
        charges: &[MinuteCharge],
    ) -> Result<Vec<ChargeOutcome>, WalletError> {
        charge_minutes(&self.ledger, charges).await
    }

    pub(crate) async fn settle(
        &self,
        settlement: &CallSettlement,
    ) -> Result<SettlementOutcome, WalletError> {
        settle_call(&self.ledger, settlement).await
    }

    /// Gives coins under an id that is given once; returns the balance after it.
    pub(crate) async fn give(&self, user_id: i64, coins: i64, fresh_id: &str) -> i64 {
        let bonus = CoinBonusGrant {
            user_id,
            admin_id: ADMIN,
            tx_type: TransactionType::Bonus,
            coins,
            fresh_id: fresh_id.to_owned(),
            idempotency: None,
        };
        let given = self.ledger.give_bonus(&bonus).await;
        given.expect("given").balance_coins
    }

    pub(crate) async fn load_coins(&self, user_id: i64) -> i64 {
        self.ledger
            .load_balance(user_id)
            .await
            .expect("readable")
            .balance_coins
    }

    /// Makes the listener earn this many rupees with one call.
    pub(crate) async fn earn(&self, call_id: i64, rupees: i32) {
        let recharge = RechargeRequest {
            wanted: RequestedCoinPurchase::Coins {
                coins: i64::from(rupees),
                amount_paise: 100,
            },
            ..recharge(&format!("for-{call_id}"))
        };
        self.ledger.redeem_recharge(&recharge).await.expect("given");
        let minutes: Vec<MinuteCharge> = (1..=rupees)
            .map(|minute| MinuteCharge {
                call_id,
                minute,
                user_id: CALLER,
                coins: 1,
            })
            .collect();
        self.charge(&minutes).await.expect("paid");
        let settlement = CallSettlement {
            call_id,
            ..settlement(rupees)
        };
        self.settle(&settlement).await.expect("settled");
    }

    pub(crate) async fn assert_consistent(&self) {
        let wrong = self.find_differences().await;
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    pub(crate) async fn find_differences(&self) -> Vec<String> {
        let session = self.database.app.open_session().await;
        find_differences(&mut session.expect("connected"))
            .await
            .expect("readable")
    }

    /// Executes a statement that no service may, and returns the differences that are then found.
    pub(crate) async fn tamper(&self, statement: &'static str) -> Vec<String> {
        let changed = sqlx::query(statement)
            .execute(&self.database.superuser)
            .await
            .expect("changed");
        assert_eq!(changed.rows_affected(), 1, "{statement}");
        self.find_differences().await
    }

    /// Events of a kind that wait in the outbox.
    pub(crate) async fn count_events(&self, subject: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM wallet.outbox WHERE subject = $1")
            .bind(subject)
            .fetch_one(&self.database.app_pool)
            .await
            .expect("readable")
    }
}

/// Charges minutes in one transaction, as requests without a trace.
pub(crate) async fn charge_minutes(
    ledger: &WalletLedger,
    charges: &[MinuteCharge],
) -> Result<Vec<ChargeOutcome>, WalletError> {
    let charges: Vec<_> = charges.iter().copied().map(without_trace).collect();
    ledger.charge_minutes(&charges).await
}

pub(crate) async fn settle_call(
    ledger: &WalletLedger,
    settlement: &CallSettlement,
) -> Result<SettlementOutcome, WalletError> {
    let settled = ledger
        .settle_calls(&[without_trace(settlement.clone())])
        .await?;
    Ok(settled[0])
}

fn without_trace<T>(request: T) -> TracedRequest<T> {
    TracedRequest {
        request,
        traceparent: None,
    }
}

pub(crate) fn recharge(fresh_id: &str) -> RechargeRequest {
    RechargeRequest {
        user_id: CALLER,
        wanted: RequestedCoinPurchase::Step {
            amount_paise: 15_000,
        },
        payment_method: Some(PaymentMethod::Upi),
        proof: PaymentProof::None,
        fresh_id: fresh_id.to_owned(),
        idempotency: None,
    }
}

pub(crate) fn minute(minute: i32) -> MinuteCharge {
    MinuteCharge {
        call_id: CALL,
        minute,
        user_id: CALLER,
        coins: 10,
    }
}

pub(crate) fn settlement(minutes: i32) -> CallSettlement {
    CallSettlement {
        call_id: CALL,
        caller_id: CALLER,
        listener_id: LISTENER,
        minutes,
        listener_paise_per_minute: 100,
        call_type: Some(CallType::Audio),
        returned_minutes: vec![],
        unearned_minutes: vec![],
    }
}
