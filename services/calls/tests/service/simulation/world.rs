//! The parts between which messages get lost, come twice and overtake each other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallStatus};
use talktime_calls::domain::steps::{ChargeOutcome, SagaLimits};

use super::checks;
use super::runtime::{Owner, Runtime};
use super::wallet::{Answer, Ask, Wallet};
use crate::model::Rows;

/// Clocks go wrong by so much, either way.
pub(super) const SKEW_MS: i64 = 30_000;
pub(super) const REPLICAS: usize = 2;
pub(super) const LEASE_SECS: f64 = 8.0;
/// How long somebody who is about to be deleted is kept from calls.
pub(super) const DELETION_SECS_MAX: i64 = 20;

const TRAVEL_MS: Range<i64> = 1..40;
/// How long somebody waits for an answer that does not come.
const TIMEOUT_MS: Range<i64> = 500..2_000;
const LATE_MS: Range<i64> = 100..20_000;
/// Of messages and answers, while things go wrong.
const ONE_IN_LOST: i64 = 12;
const ONE_IN_TWICE: i64 = 12;
/// Of reservations, where rows get lost.
const ONE_IN_LOST_ROWS: i64 = 4;
/// As the service asks a peer again.
const TRIES: usize = 3;

/// No answer came: whether it was done is unknown.
#[derive(Debug)]
pub(super) struct Unknown;

/// A call by the true time, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Talked {
    pub(super) from_ms: i64,
    /// When somebody hung up; none where the call ended otherwise.
    pub(super) until_ms: Option<i64>,
}

/// A deletion by the true time, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deletion {
    /// Whether calls was asked before it, and so has refused starts since.
    pub(super) is_prepared: bool,
    /// When calls had done what the event of it asks for; none before.
    pub(super) known_ms: Option<i64>,
}

/// What is published of a call's end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Figures {
    status: CallStatus,
    duration_seconds: Option<i64>,
    duration_minutes: Option<i32>,
    coins_spent: i64,
    listener_paise_earned: i64,
}

impl Figures {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            status: call.status,
            duration_seconds: call.duration_seconds,
            duration_minutes: call.duration_minutes,
            coins_spent: call.coins_spent,
            listener_paise_earned: call.listener_paise_earned,
        }
    }
}

/// Everything but the tasks; cheap to clone.
#[derive(Clone)]
pub(super) struct World(Rc<Parts>);

pub(super) struct Parts {
    pub(super) runtime: Runtime,
    pub(super) limits: SagaLimits,
    pub(super) rows: RefCell<Rows>,
    pub(super) wallet: RefCell<Wallet>,
    /// Last signs of life by presence's clock, in true milliseconds plus its error.
    pub(super) signs_ms: RefCell<BTreeMap<i64, i64>>,
    /// Whether things still go wrong.
    pub(super) is_rough: Cell<bool>,
    pub(super) is_wallet_up: Cell<bool>,
    pub(super) up: RefCell<[bool; REPLICAS]>,
    /// What the database's clock is ahead of the true time: it changes when another machine takes over.
    pub(super) database_skew_ms: Cell<i64>,
    pub(super) has_skew_changed: Cell<bool>,
    pub(super) presence_skew_ms: i64,
    /// Whether acknowledged reservations get lost, and nothing else goes wrong.
    pub(super) loses_rows: bool,
    /// Users whom profile has deleted.
    pub(super) deletions: RefCell<BTreeMap<i64, Deletion>>,
    /// What is published of each call's end.
    pub(super) published: RefCell<BTreeMap<i64, Vec<Figures>>>,
    /// When each minute was charged, `(call_id, minute)`.
    pub(super) charged_ms: RefCell<BTreeMap<(i64, i32), i64>>,
    /// When calls truly began and ended.
    pub(super) talked_ms: RefCell<BTreeMap<i64, Talked>>,
    /// What happened, for the one who reads about a failing seed.
    pub(super) log: RefCell<Option<Vec<String>>>,
}

impl std::ops::Deref for World {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl World {
    pub(super) fn new(
        runtime: Runtime,
        limits: SagaLimits,
        loses_rows: bool,
        is_logged: bool,
    ) -> Self {
        let presence_skew_ms = runtime.between(-SKEW_MS..SKEW_MS);
        let database_skew_ms = runtime.between(-SKEW_MS..SKEW_MS);
        Self(Rc::new(Parts {
            runtime,
            limits,
            rows: RefCell::default(),
            wallet: RefCell::default(),
            signs_ms: RefCell::default(),
            is_rough: Cell::new(true),
            is_wallet_up: Cell::new(true),
            up: RefCell::new([true; REPLICAS]),
            database_skew_ms: Cell::new(database_skew_ms),
            has_skew_changed: Cell::new(false),
            presence_skew_ms,
            loses_rows,
            deletions: RefCell::default(),
            published: RefCell::default(),
            charged_ms: RefCell::default(),
            talked_ms: RefCell::default(),
            log: RefCell::new(is_logged.then(Vec::new)),
        }))
    }

    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.push(format!("{:>8} ms  {}", self.runtime.now_ms(), what()));
        }
    }

    /// The database's time.
    pub(super) fn database_now(&self) -> DateTime<Utc> {
        instant(self.runtime.now_ms() + self.database_skew_ms.get())
    }

    /// A transaction: all of it happens at one instant, or nothing; the answer may not arrive.
    pub(super) async fn transact<T>(
        &self,
        change: impl FnOnce(&mut Rows, DateTime<Utc>) -> T,
    ) -> Result<T, Unknown> {
        self.runtime.sleep(TRAVEL_MS).await;
        if self.is_lost() {
            self.runtime.sleep(TIMEOUT_MS).await;
            return Err(Unknown);
        }
        let now = self.database_now();
        let answer = change(&mut self.rows.borrow_mut(), now);
        checks::always(self);
        self.runtime.sleep(TRAVEL_MS).await;
        if self.is_lost() {
            return Err(Unknown);
        }
        Ok(answer)
    }

    /// Asks the wallet, and asks again a few times.
    pub(super) async fn ask_wallet(&self, ask: Ask) -> Result<Answer, Unknown> {
        for _ in 0..TRIES {
            if let Ok(answer) = self.ask_wallet_once(ask).await {
                return Ok(answer);
            }
        }
        Err(Unknown)
    }

    async fn ask_wallet_once(&self, ask: Ask) -> Result<Answer, Unknown> {
        if self.is_rough.get() && self.runtime.one_in(ONE_IN_TWICE) {
            let world = self.clone();
            self.runtime.spawn(Owner::World, async move {
                world.runtime.sleep(LATE_MS).await;
                world.at_wallet(ask);
            });
        }
        self.runtime.sleep(TRAVEL_MS).await;
        let answer = if self.is_lost() {
            None
        } else {
            self.at_wallet(ask)
        };
        self.runtime.sleep(TRAVEL_MS).await;
        match answer {
            Some(answer) if !self.is_lost() => Ok(answer),
            _ => {
                self.runtime.sleep(TIMEOUT_MS).await;
                Err(Unknown)
            }
        }
    }

    fn at_wallet(&self, ask: Ask) -> Option<Answer> {
        if !self.is_wallet_up.get() {
            return None;
        }
        checks::not_early(self, ask);
        let answer = self.wallet.borrow_mut().answer(ask);
        if let (
            Ask::Charge {
                call_id, minute, ..
            },
            Answer::Charge(ChargeOutcome::Paid { .. }),
        ) = (ask, answer)
        {
            let mut charged_ms = self.charged_ms.borrow_mut();
            let now_ms = self.runtime.now_ms();
            charged_ms.entry((call_id, minute)).or_insert(now_ms);
        }
        self.note(|| format!("wallet: {ask:?} -> {answer:?}"));
        checks::always(self);
        Some(answer)
    }

    fn is_lost(&self) -> bool {
        self.is_rough.get() && !self.loses_rows && self.runtime.one_in(ONE_IN_LOST)
    }

    /// Whether a reservation that is acknowledged is not there after all.
    pub(super) fn loses_row(&self) -> bool {
        self.is_rough.get() && self.loses_rows && self.runtime.one_in(ONE_IN_LOST_ROWS)
    }

    /// Whether profile knows no such user any more.
    pub(super) fn is_deleted(&self, user_id: i64) -> bool {
        self.deletions.borrow().contains_key(&user_id)
    }

    pub(super) fn publish_end(&self, call: &Call) {
        let mut published = self.published.borrow_mut();
        published
            .entry(call.call_id)
            .or_default()
            .push(Figures::of(call));
    }

    /// Somebody's app is heard of.
    pub(super) fn sign_of_life(&self, user_id: i64) {
        let seen_ms = self.runtime.now_ms() + self.presence_skew_ms;
        self.signs_ms.borrow_mut().insert(user_id, seen_ms);
    }

    /// The last sign of life of either, as presence says it.
    pub(super) fn last_sign(&self, user_ids: [i64; 2]) -> Option<DateTime<Utc>> {
        let signs_ms = self.signs_ms.borrow();
        let latest = user_ids.iter().filter_map(|id| signs_ms.get(id)).max();
        latest.copied().map(instant)
    }
}

/// Far from zero, so that no clock is before 1970.
fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(ms)
}
