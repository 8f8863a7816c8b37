//! Random operations of several workers at once, each sent once, twice at the same time, or again after it was broken
//! off, beside a model that knows nothing of databases: same answers, same end, books that add up.
//!
//! `TALKTIME_SEED` repeats a run; a run that fails prints its seed.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use talktime_kit::{Error, idempotency};
use talktime_wallet::domain::charging::MinuteCharge;
use talktime_wallet::domain::history::TransactionType;
use talktime_wallet::domain::withdrawal::{WithdrawalDecision, WithdrawalStatus};
use talktime_wallet::ledger::{
    ChargeOutcome, CoinBonusGrant, PaymentProof, RechargeRequest, RequestedCoinPurchase,
    WalletLedger, WithdrawalRequest,
};
use talktime_wallet::provider::PaymentProvider;

use crate::bank::details;
use crate::books::{TestBooks, charge_minutes, settle_call, terms};
use crate::model::{CALLERS, ExpectedBalance, ExpectedSettlement, LedgerModel};

const WORKERS: i64 = 8;
const OPERATIONS_MIN: usize = 10_000;
/// Most minutes in one batch.
const BATCH_MAX: i32 = 60;
/// A caller whom all workers charge, and a listener for whom all settle, so that they wait for the same wallets.
const SHARED_CALLER: i64 = 1;
const SHARED_LISTENER: i64 = 2;
const SHARED_COINS: i64 = 1_000_000;
/// A run that takes longer has met a lock that nobody frees.
const RUN_MAX: Duration = Duration::from_secs(55);
/// Most attempts of an operation that are broken off before one is awaited.
const BROKEN_OFF_MAX: usize = 3;

/// The result of an operation; a refusal is named by its code.
type OperationResult<T> = Result<T, String>;

fn with_code<T>(answer: Result<T, talktime_wallet::domain::WalletError>) -> OperationResult<T> {
    answer.map_err(|error| {
        let error = Error::from(error);
        assert!(!error.is_outcome_unknown(), "{error:?}");
        error.code().to_owned()
    })
}

/// One worker with people of its own, and its model of their wallets.
struct ModelWorker {
    number: i64,
    ledger: WalletLedger,
    rng: StdRng,
    model: LedgerModel,
    operations: usize,
    next_key: u64,
    shared_minutes: i64,
}

impl ModelWorker {
    /// Sends a request once, twice at once, or again after a cancellation: the answer is the same.
    async fn run_operation<T: std::fmt::Debug + PartialEq>(
        &mut self,
        operation: impl AsyncFn() -> OperationResult<T>,
    ) -> OperationResult<T> {
        match self.rng.random_range(0..10) {
            0..5 => operation().await,
            5..8 => {
                let (one, other) = tokio::join!(operation(), operation());
                assert_eq!(one, other, "the same request twice at once");
                one
            }
            _ => {
                for _ in 0..self.rng.random_range(1..=BROKEN_OFF_MAX) {
                    let patience = Duration::from_micros(self.rng.random_range(0..6_000));
                    // Dropped where it stands, as by a client that goes away.
                    let _ = tokio::time::timeout(patience, operation()).await;
                }
                operation().await
            }
        }
    }

    fn key(&mut self, route: &'static str) -> idempotency::KeyedRequest {
        self.next_key += 1;
        let key = format!("{}", self.next_key);
        let request =
            idempotency::KeyedRequest::new(1_000 + self.number, route, key, &self.next_key);
        request.expect("a valid key")
    }

    fn fresh_id(&self) -> String {
        format!("{}-{}", self.number, self.next_key)
    }

    async fn step(&mut self) {
        self.operations += 1;
        match self.rng.random_range(0..100) {
            0..12 => self.recharge().await,
            12..16 => self.give_bonus().await,
            16..46 => self.charge().await,
            46..62 => self.charge_many().await,
            62..70 => self.void().await,
            70..82 => self.settle().await,
            82..88 => self.withdraw().await,
            88..94 => self.decide().await,
            _ => self.charge_shared().await,
        }
    }

    async fn recharge(&mut self) {
        let (user_id, coins) = (self.pick_caller(), self.rng.random_range(1..400));
        let idempotency = Some(self.key("recharge"));
        let recharge = RechargeRequest {
            user_id,
            wanted: RequestedCoinPurchase::Coins {
                coins,
                amount_paise: coins * 50,
            },
            payment_method: None,
            proof: PaymentProof::None,
            fresh_id: self.fresh_id(),
            idempotency,
        };
        let ledger = self.ledger.clone();
        let answer =
            self.run_operation(async || with_code(ledger.redeem_recharge(&recharge).await));
        let balance = answer.await.expect("bought").balance_coins;
        assert_eq!(balance, self.model.add_coins(user_id, coins));
    }

    async fn give_bonus(&mut self) {
        let (user_id, coins) = (self.pick_caller(), self.rng.random_range(1..50));
        let idempotency = Some(self.key("give"));
        let bonus = CoinBonusGrant {
            user_id,
            admin_id: user_id,
            tx_type: TransactionType::Bonus,
            coins,
            fresh_id: self.fresh_id(),
            idempotency,
        };
        let ledger = self.ledger.clone();
        let answer = self
            .run_operation(async || with_code(ledger.give_bonus(&bonus).await))
            .await;
        let balance = answer.expect("given").balance_coins;
        assert_eq!(balance, self.model.add_bonus(user_id, coins));
    }

    async fn charge(&mut self) {
        let charge = self.any_charge();
        let ledger = self.ledger.clone();
        let answer = self.run_operation(async || {
            let outcomes = with_code(charge_minutes(&ledger, &[charge]).await)?;
            Ok(outcomes[0])
        });
        let outcome = answer.await.expect("decided");
        assert_eq!(
            expected_charge(outcome),
            self.model.charge(&charge),
            "{charge:?}"
        );
    }

    async fn charge_many(&mut self) {
        let call = self.model.any_call(&mut self.rng);
        let first = self.rng.random_range(1..10);
        let last = first + self.rng.random_range(0..BATCH_MAX);
        let charges: Vec<MinuteCharge> = (first..=last)
            .map(|minute| self.model.minute(call, minute))
            .collect();
        self.operations += charges.len() - 1;
        let ledger = self.ledger.clone();
        let answer =
            self.run_operation(async || with_code(charge_minutes(&ledger, &charges).await));
        let outcomes = answer.await.expect("decided");
        for (charge, outcome) in charges.iter().zip(outcomes) {
            assert_eq!(
                expected_charge(outcome),
                self.model.charge(charge),
                "{charge:?}"
            );
        }
    }

    async fn void(&mut self) {
        let charge = self.any_charge();
        let MinuteCharge {
            call_id,
            minute,
            user_id,
            ..
        } = charge;
        let ledger = self.ledger.clone();
        let answer = self
            .run_operation(async || with_code(ledger.void_charge(call_id, minute, user_id).await));
        let returned = answer.await.expect("undone");
        assert_eq!(returned, self.model.void(&charge), "{charge:?}");
    }

    async fn settle(&mut self) {
        let call = self.model.any_call(&mut self.rng);
        let listener_id = if self.rng.random_bool(0.3) {
            SHARED_LISTENER
        } else {
            self.model.listener_id
        };
        let minutes = self.model.minutes_to_settle(call, &mut self.rng);
        let (mut returned, mut unearned) = (vec![], vec![]);
        for minute in 1..=minutes {
            if self.rng.random_bool(0.1) {
                returned.push(minute);
                if self.rng.random_bool(0.5) {
                    unearned.push(minute);
                }
            }
        }
        let settlement = self
            .model
            .settlement(call, listener_id, minutes, returned, unearned);
        let ledger = self.ledger.clone();
        let answer =
            self.run_operation(async || with_code(settle_call(&ledger, &settlement).await));
        let answer = answer.await.map(|settled| ExpectedSettlement {
            coins_spent: settled.coins_spent,
            listener_paise: settled.listener_paise,
            caller_balance_coins: settled.caller_balance_coins,
        });
        let expected = self.model.settle(&settlement);
        assert_eq!(
            answer,
            expected.map_err(ToOwned::to_owned),
            "{settlement:?}"
        );
        if self.rng.random_bool(0.2) {
            self.model.forget_call(call);
        }
    }

    async fn withdraw(&mut self) {
        let listener = &self.model.people[&self.model.listener_id];
        let amount_paise = self.rng.random_range(1..=listener.withdrawable_paise + 500);
        let request = WithdrawalRequest {
            user_id: self.model.listener_id,
            amount_paise,
            idempotency: Some(self.key("withdraw")),
        };
        let ledger = self.ledger.clone();
        let answer = self
            .run_operation(async || with_code(ledger.request_withdrawal(&request).await))
            .await;
        let withdrawal_id = answer.map(|held| held.withdrawal_id);
        let expected = self
            .model
            .withdraw(amount_paise, withdrawal_id.clone().ok());
        assert_eq!(
            withdrawal_id.map(|_| ()),
            expected.map_err(ToOwned::to_owned)
        );
    }

    async fn decide(&mut self) {
        let Some(id) = self.model.any_withdrawal(&mut self.rng) else {
            return;
        };
        let statuses = [
            WithdrawalStatus::Processing,
            WithdrawalStatus::Paid,
            WithdrawalStatus::Rejected,
        ];
        let status = statuses[self.rng.random_range(0..statuses.len())];
        let decision = WithdrawalDecision {
            admin_id: 1_000_000,
            status,
            notes: None,
        };
        let ledger = self.ledger.clone();
        let answer = self.run_operation(async || {
            let decided = with_code(ledger.decide_withdrawal(id, &decision).await)?;
            Ok(decided.withdrawal.status)
        });
        let answer = answer.await;
        let expected = self.model.decide(id, status);
        let expected = expected.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
        assert_eq!(answer, expected);
    }

    async fn charge_shared(&mut self) {
        self.shared_minutes += 1;
        let charge = MinuteCharge {
            call_id: 1_000_000 * (self.number + 1) + self.shared_minutes,
            minute: 1,
            user_id: SHARED_CALLER,
            coins: 1,
        };
        let ledger = self.ledger.clone();
        let answer = self
            .run_operation(async || with_code(charge_minutes(&ledger, &[charge]).await))
            .await;
        let outcomes = answer.expect("decided");
        assert!(
            matches!(outcomes[0], ChargeOutcome::Charged { .. }),
            "{outcomes:?}"
        );
    }

    fn pick_caller(&mut self) -> i64 {
        self.model.callers[self.rng.random_range(0..CALLERS)]
    }

    fn any_charge(&mut self) -> MinuteCharge {
        let call = self.model.any_call(&mut self.rng);
        let minute = self.rng.random_range(1..14);
        self.model.minute(call, minute)
    }
}

/// An outcome as the model knows it, without transaction ids.
fn expected_charge(outcome: ChargeOutcome) -> crate::model::ExpectedCharge {
    use crate::model::ExpectedCharge;
    match outcome {
        ChargeOutcome::Charged { balance_coins, .. } => ExpectedCharge::Leaves(balance_coins),
        ChargeOutcome::Insufficient { available_coins } => {
            ExpectedCharge::Insufficient(available_coins)
        }
        ChargeOutcome::Voided => ExpectedCharge::Voided,
    }
}

fn seed() -> u64 {
    std::env::var("TALKTIME_SEED").map_or_else(
        |_| uuid::Uuid::new_v4().as_u64_pair().0,
        |seed| seed.parse().expect("a number"),
    )
}

async fn prepare(books: &TestBooks, worker: &ModelWorker) {
    let listener_id = worker.model.listener_id;
    let account = details("123456789");
    let kept = books.ledger.set_bank_details(listener_id, &account).await;
    kept.expect("kept");
}

async fn give_shared_coins(books: &TestBooks) {
    let bonus = CoinBonusGrant {
        user_id: SHARED_CALLER,
        admin_id: SHARED_CALLER,
        tx_type: TransactionType::Bonus,
        coins: SHARED_COINS,
        fresh_id: "shared".to_owned(),
        idempotency: None,
    };
    books.ledger.give_bonus(&bonus).await.expect("given");
}

/// Takes steps until the worker has done its share of the operations, which must be before `until`.
async fn work(mut worker: ModelWorker, share: usize, until: Instant) -> ModelWorker {
    while worker.operations < share {
        assert!(Instant::now() < until, "the run takes too long");
        worker.step().await;
    }
    worker
}

async fn assert_same_end(books: &TestBooks, workers: &[ModelWorker]) {
    let people = workers.iter().flat_map(|worker| &worker.model.people);
    for (user_id, person) in people {
        let balance = books.ledger.load_balance(*user_id).await.expect("readable");
        let found = ExpectedBalance {
            coins: balance.balance_coins,
            bonus_coins: balance.bonus_coins,
            withdrawable_paise: balance.withdrawable_paise,
            pending_paise: balance.pending_withdrawals_paise,
            withdrawn_paise: balance.total_withdrawn_paise,
        };
        assert_eq!(found, *person, "user {user_id}");
    }
    let minutes: i64 = workers.iter().map(|worker| worker.shared_minutes).sum();
    assert_eq!(
        books.load_coins(SHARED_CALLER).await,
        SHARED_COINS - minutes
    );
    let earned = workers.iter().map(|worker| worker.model.shared_paise);
    let shared = books.ledger.load_balance(SHARED_LISTENER).await;
    let shared = shared.expect("readable").withdrawable_paise;
    assert_eq!(shared, earned.sum::<i64>());
}

#[tokio::test]
async fn the_ledger_behaves_like_the_model() {
    let seed = seed();
    println!("TALKTIME_SEED={seed}");
    // The model knows decisions of one admin only.
    let mut one_admin = terms();
    one_admin.withdrawals.two_admins_above_paise = i64::MAX;
    let books = TestBooks::with_provider(one_admin, PaymentProvider::Sandbox).await;
    give_shared_coins(&books).await;
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let worker = ModelWorker {
            number,
            ledger: books.ledger.clone(),
            rng: StdRng::seed_from_u64(seed.wrapping_add(number.unsigned_abs())),
            model: LedgerModel::of_worker(number),
            operations: 0,
            next_key: 0,
            shared_minutes: 0,
        };
        prepare(&books, &worker).await;
        workers.push(worker);
    }
    let until = Instant::now() + RUN_MAX;
    let share = OPERATIONS_MIN / workers.len() + 1;
    // In one task: a future that is broken off anywhere need not move between threads.
    let at_work = workers.into_iter().map(|worker| work(worker, share, until));
    let workers: Vec<ModelWorker> = join_all(at_work).await;
    let operations: usize = workers.iter().map(|worker| worker.operations).sum();
    assert!(operations >= OPERATIONS_MIN, "{operations}");
    assert_same_end(&books, &workers).await;
    books.assert_consistent().await;
}
