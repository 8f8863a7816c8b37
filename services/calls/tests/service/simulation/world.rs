//! The parts of the simulated system, between which messages are lost, duplicated and reordered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallStatus};
use talktime_calls::domain::evidence::MinuteVerdict;
use talktime_calls::domain::limits::SagaTimeLimits;

use super::runtime::SimulatedRuntime;
use super::wallet::WalletModel;
use crate::model::ModelRows;

/// Maximum error of a clock, in either direction.
pub(super) const SKEW_MS: i64 = 30_000;
pub(super) const REPLICAS: usize = 2;
pub(super) const LEASE_SECS: f64 = 8.0;
/// Seconds for which a user is kept from calls before their deletion.
pub(super) const DELETION_SECS_MAX: i64 = 20;

/// Share of lost reservations, in seeds that lose rows.
const ONE_IN_LOST_ROWS: i64 = 4;

/// No answer arrived, so the outcome is unknown.
#[derive(Debug)]
pub(super) struct UnknownOutcome;

/// Talk time of a call by the true time, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TalkTime {
    pub(super) from_ms: i64,
    /// Time at which a party hung up; `None` if the call ended otherwise.
    pub(super) until_ms: Option<i64>,
}

/// A deletion of a user by the true time, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deletion {
    /// Whether calls was informed before, and so has refused starts since.
    pub(super) is_prepared: bool,
    /// Time at which calls had handled the event of the deletion; `None` before.
    pub(super) known_ms: Option<i64>,
}

/// Figures that are published at the end of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PublishedFigures {
    status: CallStatus,
    duration_seconds: Option<i64>,
    duration_minutes: Option<i32>,
    coins_spent: i64,
    listener_paise_earned: i64,
}

impl PublishedFigures {
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

/// State of the simulated system without its tasks; cheap to clone.
#[derive(Clone)]
pub(super) struct SimulatedWorld(Rc<WorldState>);

pub(super) struct WorldState {
    pub(super) runtime: SimulatedRuntime,
    pub(super) limits: SagaTimeLimits,
    pub(super) rows: RefCell<ModelRows>,
    pub(super) wallet: RefCell<WalletModel>,
    /// Last signs of life by the clock of presence: true milliseconds plus its error.
    pub(super) signs_ms: RefCell<BTreeMap<i64, i64>>,
    /// Whether failures still occur.
    pub(super) is_rough: Cell<bool>,
    pub(super) is_wallet_up: Cell<bool>,
    pub(super) up: RefCell<[bool; REPLICAS]>,
    /// Milliseconds by which the clock of the database is ahead of the true time. It changes when another
    /// machine takes over.
    pub(super) database_skew_ms: Cell<i64>,
    pub(super) has_skew_changed: Cell<bool>,
    pub(super) presence_skew_ms: i64,
    /// Whether this seed loses acknowledged reservations and has no other failures.
    pub(super) loses_rows: bool,
    /// Users that profile has deleted.
    pub(super) deletions: RefCell<BTreeMap<i64, Deletion>>,
    /// Figures published for each call.
    pub(super) published: RefCell<BTreeMap<i64, Vec<PublishedFigures>>>,
    /// Number of times that the end of each ring was published.
    pub(super) published_rings: RefCell<BTreeMap<i64, usize>>,
    /// The decision about the sound of each minute, by `(call_id, minute)`.
    pub(super) verdicts: RefCell<BTreeMap<(i64, i32), MinuteVerdict>>,
    /// Time at which each minute was charged, by `(call_id, minute)`.
    pub(super) charged_ms: RefCell<BTreeMap<(i64, i32), i64>>,
    /// True talk time of each call.
    pub(super) talked_ms: RefCell<BTreeMap<i64, TalkTime>>,
    /// Log of events for the analysis of a failing seed.
    pub(super) log: RefCell<Option<Vec<String>>>,
}

impl std::ops::Deref for SimulatedWorld {
    type Target = WorldState;

    fn deref(&self) -> &WorldState {
        &self.0
    }
}

impl SimulatedWorld {
    pub(super) fn new(
        runtime: SimulatedRuntime,
        limits: SagaTimeLimits,
        loses_rows: bool,
        is_logged: bool,
    ) -> Self {
        let presence_skew_ms = runtime.between(-SKEW_MS..SKEW_MS);
        let database_skew_ms = runtime.between(-SKEW_MS..SKEW_MS);
        Self(Rc::new(WorldState {
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
            published_rings: RefCell::default(),
            verdicts: RefCell::default(),
            charged_ms: RefCell::default(),
            talked_ms: RefCell::default(),
            log: RefCell::new(is_logged.then(Vec::new)),
        }))
    }

    pub(super) fn log_line(&self, what: impl FnOnce() -> String) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.push(format!("{:>8} ms  {}", self.runtime.now_ms(), what()));
        }
    }

    /// Time by the clock of the database.
    pub(super) fn database_now(&self) -> DateTime<Utc> {
        instant(self.runtime.now_ms() + self.database_skew_ms.get())
    }

    /// Whether an acknowledged reservation is lost.
    pub(super) fn loses_row(&self) -> bool {
        self.is_rough.get() && self.loses_rows && self.runtime.one_in(ONE_IN_LOST_ROWS)
    }

    /// Whether profile has deleted the user.
    pub(super) fn is_deleted(&self, user_id: i64) -> bool {
        self.deletions.borrow().contains_key(&user_id)
    }

    pub(super) fn publish_end(&self, call: &Call) {
        let mut published = self.published.borrow_mut();
        published
            .entry(call.call_id)
            .or_default()
            .push(PublishedFigures::of(call));
    }

    pub(super) fn publish_unanswered(&self, call: &Call) {
        let mut published = self.published_rings.borrow_mut();
        *published.entry(call.call_id).or_default() += 1;
    }

    /// Records a sign of life of a user.
    pub(super) fn sign_of_life(&self, user_id: i64) {
        let seen_ms = self.runtime.now_ms() + self.presence_skew_ms;
        self.signs_ms.borrow_mut().insert(user_id, seen_ms);
    }

    /// Returns the last sign of life of either user, as presence reports it.
    pub(super) fn last_sign(&self, user_ids: [i64; 2]) -> Option<DateTime<Utc>> {
        let signs_ms = self.signs_ms.borrow();
        let latest = user_ids.iter().filter_map(|id| signs_ms.get(id)).max();
        latest.copied().map(instant)
    }
}

/// The instant is far from zero, so that no clock precedes 1970.
fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(ms)
}
