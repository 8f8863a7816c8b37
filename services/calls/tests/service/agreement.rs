//! Compares the model of the simulation with the statements that it stands for.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use fastrand::Rng;

use talktime_calls::SCHEMA;
use talktime_calls::domain::call::{Call, CallMedia, CallPhase, CallStatus, CallType};
use talktime_calls::domain::ending::{CallEndReason, EndingParty};
use talktime_calls::domain::limits::SagaTimeLimits;
use talktime_calls::domain::ringing::{self, AcceptRingDecision, RingEndCause};
use talktime_calls::domain::steps::{self, CallEndCause, MinuteChargeOutcome};
use talktime_calls::store::calls::{self, CallReceipt, LiveStart};
use talktime_calls::store::reservations::{self, NewCall, NewRing};
use talktime_calls::store::{deleted_users, live_parties, rings};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox::OutboxColumns;
use talktime_kit::testing::TestDatabase;

use crate::model::{COINS_PER_MINUTE, MINUTE_SECS, ModelRows, PAISE_PER_COIN, PAISE_PER_MINUTE};
use crate::ring_model::{CONNECT_SECS, new_ring};

const STEPS: usize = 6_000;
const PEOPLE: i64 = 5;
pub(crate) const LEASE_SECS: f64 = 8.0;
const LIMITS: SagaTimeLimits = SagaTimeLimits {
    unpaid_grace: TimeDelta::seconds(5),
    cancel_grace: TimeDelta::seconds(4),
    silence_max: TimeDelta::seconds(60),
    reach: TimeDelta::seconds(5),
    connect: TimeDelta::seconds(CONNECT_SECS),
    caller_silence_max: TimeDelta::seconds(90),
};

/// The model and the source of random steps; the database is passed to each step.
struct ModelAndDatabase {
    model: ModelRows,
    rng: Rng,
}

/// Text of what must agree. The time at which a row was read is excluded.
fn comparable_text(call: Option<Call>) -> String {
    let call = call.map(|call| Call {
        read_at: DateTime::UNIX_EPOCH,
        ..call
    });
    format!("{call:?}")
}

pub(crate) fn new_call((user_id, listener_id): (i64, i64), ring: Option<NewRing>) -> NewCall {
    NewCall {
        user_id,
        listener_id,
        call_type: CallType::Audio,
        coins_per_minute: COINS_PER_MINUTE,
        basic_paise_per_minute: PAISE_PER_MINUTE,
        prices_version: 1,
        date: NaiveDate::default(),
        minute_secs: MINUTE_SECS,
        caller_username: String::new(),
        listener_username: String::new(),
        idempotency_key: None,
        ring,
    }
}

async fn database_now(tx: &mut PgConnection) -> DateTime<Utc> {
    let now = sqlx::query_scalar("SELECT now()").fetch_one(tx).await;
    now.expect("Postgres returns the time")
}

impl ModelAndDatabase {
    /// Executes one random step on both, in one transaction, so that both have the same time. Returns
    /// whether to commit.
    async fn step(&mut self, tx: &mut PgConnection) -> bool {
        let now = database_now(tx).await;
        let call_id = self.some_call();
        match self.rng.u8(0..14) {
            0 | 1 => return self.reserve(tx, now).await,
            10 => self.reach(tx, now, call_id).await,
            11 => self.accept(tx, now, call_id).await,
            12 => self.connect(tx, now, call_id).await,
            13 => self.end_ring(tx, now, call_id).await,
            2 => self.activate(tx, now, call_id).await,
            3 => self.undo(tx, now, call_id).await,
            4 => self.record(tx, now, call_id).await,
            5 => self.end(tx, now, call_id).await,
            6 => self.close(tx, now, call_id).await,
            7 => self.claim(tx, now).await,
            8 if self.rng.u8(0..4) == 0 => self.bar(tx, now).await,
            _ => self.pass_time(tx).await,
        }
        true
    }

    /// Picks one of the newest calls, which are still changing, one with busy parties, or one that does not
    /// exist.
    fn some_call(&mut self) -> i64 {
        let newest = self.model.calls.keys().rev().copied();
        let holding = self.model.live_parties.values().copied();
        let call_ids: Vec<i64> = newest.take(4).chain(holding).chain([i64::MAX]).collect();
        call_ids[self.rng.usize(0..call_ids.len())]
    }

    /// Makes up the payment of a minute, of which given coins pay a part now and then.
    fn some_payment(&mut self) -> MinuteChargeOutcome {
        let is_given = self.rng.u8(0..4) == 0;
        MinuteChargeOutcome::Paid {
            balance_coins: self.rng.i64(0..50),
            bonus_coins: if is_given { COINS_PER_MINUTE / 2 } else { 0 },
        }
    }

    async fn reserve(&mut self, tx: &mut PgConnection, now: DateTime<Utc>) -> bool {
        let user_id = self.rng.i64(1..=PEOPLE);
        let parties = (user_id, user_id % PEOPLE + 1);
        let ring = match self.rng.u8(0..4) {
            0 | 1 => None,
            2 => Some(new_ring(CallMedia::Own)),
            _ => Some(new_ring(CallMedia::Platform)),
        };
        let new = new_call(parties, ring);
        let reserved = reservations::reserve(tx, &[&new], LEASE_SECS).await;
        let call = reserved.expect("answered").pop().expect("an answer");
        let model = self.model.reserve(now, parties, ring, LEASE_SECS);
        let taken = call.is_some();
        assert_eq!(comparable_text(call), comparable_text(model));
        taken
    }

    async fn activate(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let Some(call) = self.model.find(now, call_id) else {
            return;
        };
        let minute = steps::evaluate_first_charge(&call, self.some_payment()).expect("paid");
        let live = calls::go_live(
            tx,
            &[LiveStart {
                call_id,
                minute,
                flows_since: None,
            }],
            OutboxColumns::default(),
        )
        .await;
        let live = live.expect("answered").pop();
        assert_eq!(
            comparable_text(live),
            comparable_text(self.model.activate(now, call_id, minute))
        );
    }

    async fn undo(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let Some(call) = self.model.find(now, call_id) else {
            return;
        };
        let ending = ringing::abandoned_ending(&call);
        let begun = calls::begin_undoing(tx, call_id, ending, LEASE_SECS)
            .await
            .expect("answered");
        if begun.is_some() {
            live_parties::delete_by_call(tx, call_id)
                .await
                .expect("freed");
        }
        let model = self.model.begin_undoing(now, call_id, ending, LEASE_SECS);
        assert_eq!(comparable_text(begun), comparable_text(model));
        if self.rng.bool() {
            let dropped = calls::drop_undone(tx, &call).await.expect("answered");
            assert_eq!(dropped, self.model.drop_undone(now, call_id));
        }
    }

    async fn reach(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let reached = rings::record_reached(tx, call_id).await.expect("answered");
        let model = self.model.record_reached(now, call_id);
        assert_eq!(comparable_text(reached), comparable_text(model));
    }

    async fn accept(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let Some(call) = self.model.find(now, call_id) else {
            return;
        };
        if !matches!(
            ringing::evaluate_accept(&call, "s"),
            AcceptRingDecision::Accept
        ) {
            return;
        }
        let accepted = rings::begin_accepts(tx, &[(call_id, "s")], LEASE_SECS).await;
        let model = self.model.begin_accept(now, call_id, "s", LEASE_SECS);
        assert_eq!(
            comparable_text(accepted.expect("accepted").pop()),
            comparable_text(Some(model))
        );
    }

    async fn connect(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let connect_secs = LIMITS.connect.as_seconds_f64();
        let connecting = rings::begin_connecting(tx, call_id, connect_secs).await;
        let model = self.model.begin_connecting(now, call_id, CONNECT_SECS);
        assert_eq!(
            comparable_text(connecting.expect("answered")),
            comparable_text(model)
        );
    }

    async fn end_ring(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let call = self.model.find(now, call_id);
        let Some(call) = call.filter(|call| call.phase == CallPhase::Ringing) else {
            return;
        };
        let causes = [
            RingEndCause::Expired,
            RingEndCause::HungUp {
                user_id: call.user_id,
            },
            RingEndCause::HungUp {
                user_id: call.listener_id,
            },
        ];
        let cause = causes[self.rng.usize(0..causes.len())];
        let Some(ending) = ringing::resolve_ring_end(&call, cause, &LIMITS) else {
            return;
        };
        let ended = rings::end_rings(tx, &[(call_id, ending)]).await;
        let model = self.model.end_ring(now, call_id, ending);
        assert_eq!(
            comparable_text(ended.expect("answered").pop()),
            comparable_text(Some(model))
        );
    }

    async fn record(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let Some(call) = self.model.find(now, call_id) else {
            return;
        };
        let steps::MinuteBillingDecision::Record(mut minute) =
            steps::evaluate_next_charge(&call, self.some_payment())
        else {
            unreachable!("a paid minute is recorded");
        };
        // A late driver records a minute that is recorded already, or one that is not the next.
        minute.minute += self.rng.i32(-1..=1);
        let recorded = calls::record_minutes(tx, &[(call_id, minute)])
            .await
            .expect("answered");
        let model = self.model.record_minute(now, call_id, minute);
        assert_eq!(
            comparable_text(recorded.into_iter().next()),
            comparable_text(model)
        );
    }

    async fn end(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let locked = calls::lock_by_ids(tx, &[call_id])
            .await
            .expect("answered")
            .pop();
        assert_eq!(
            comparable_text(locked.clone()),
            comparable_text(self.model.find(now, call_id))
        );
        let cause = CallEndCause::HangUp {
            status: CallStatus::Cancelled,
            reason: CallEndReason::HungUp,
            by: if self.rng.bool() {
                EndingParty::Caller
            } else {
                EndingParty::Listener
            },
        };
        let live = locked.filter(|call| call.phase == CallPhase::Active);
        let Some(ending) = live.and_then(|call| steps::resolve_end(&call, cause, &LIMITS)) else {
            return;
        };
        let ended = calls::begin_settling(
            tx,
            &[(call_id, ending)],
            OutboxColumns::default(),
            PAISE_PER_COIN,
            LEASE_SECS,
        )
        .await;
        let model = self.model.begin_settling(now, call_id, ending, LEASE_SECS);
        assert_eq!(
            comparable_text(ended.expect("answered").pop()),
            comparable_text(Some(model))
        );
    }

    async fn close(&mut self, tx: &mut PgConnection, now: DateTime<Utc>, call_id: i64) {
        let ended = self.model.find(now, call_id);
        let Some(begun) = ended.and_then(|call| call.duration_minutes) else {
            return;
        };
        let paid = (begun - i32::from(self.rng.bool())).max(0);
        let decided = calls::decide_minutes(tx, call_id, paid)
            .await
            .expect("answered");
        assert_eq!(decided, self.model.decide_minutes(call_id, paid));
        let decided = decided.expect("an ended call stays");
        let receipt = CallReceipt {
            minutes: decided,
            coins_spent: i64::from(decided) * COINS_PER_MINUTE,
            user_paise_spent: i64::from(decided) * COINS_PER_MINUTE * PAISE_PER_COIN,
            listener_paise_earned: i64::from(decided) * PAISE_PER_MINUTE,
        };
        let closed = calls::close_settled(tx, &[(call_id, receipt)])
            .await
            .expect("answered");
        assert_eq!(
            comparable_text(closed.into_iter().next()),
            comparable_text(self.model.settle(now, call_id, receipt))
        );
    }

    async fn claim(&mut self, tx: &mut PgConnection, now: DateTime<Utc>) {
        let mut claimed = calls::claim_due(tx, LEASE_SECS, 500)
            .await
            .expect("answered");
        claimed.sort_by_key(|call| call.call_id);
        let claimed: Vec<String> = claimed
            .into_iter()
            .map(|call| comparable_text(Some(call)))
            .collect();
        let model = self.model.claim_due(now, LEASE_SECS);
        let model: Vec<String> = model
            .into_iter()
            .map(|call| comparable_text(Some(call)))
            .collect();
        assert_eq!(claimed, model);
    }

    /// Bars a user from calls for a while.
    async fn bar(&mut self, tx: &mut PgConnection, now: DateTime<Utc>) {
        let user_id = self.rng.i64(1..=PEOPLE);
        let secs = self.rng.u8(1..5);
        deleted_users::bar_user(tx, user_id, Some(secs.into()))
            .await
            .expect("barred");
        self.model
            .bar(user_id, now + TimeDelta::seconds(secs.into()));
    }

    /// Moves all times some seconds into the past, as if time had passed.
    async fn pass_time(&mut self, tx: &mut PgConnection) {
        let by = TimeDelta::seconds(self.rng.i64(0..15));
        sqlx::query(
            "UPDATE calls.user_calls SET start_time = start_time - $1, end_time = end_time - $1,
                                         next_step_at = next_step_at - $1,
                                         ring_expires_at = ring_expires_at - $1,
                                         reached_at = reached_at - $1,
                                         accepted_at = accepted_at - $1, created_at = created_at - $1",
        )
        .bind(by)
        .execute(&mut *tx)
        .await
        .expect("moved");
        sqlx::query("UPDATE calls.deleted_users SET barred_until = barred_until - $1")
            .bind(by)
            .execute(tx)
            .await
            .expect("moved");
        for until in self.model.barred_until.values_mut() {
            *until -= by;
        }
        for row in self.model.calls.values_mut() {
            for time in [
                &mut row.call.start_time,
                &mut row.end_time,
                &mut row.next_step_at,
                &mut row.call.ring_expires_at,
                &mut row.call.reached_at,
                &mut row.call.accepted_at,
            ] {
                *time = time.map(|time| time - by);
            }
            row.call.created_at -= by;
        }
    }

    async fn compare_hidden_columns(&self, connection: &mut PgConnection) {
        type HiddenColumns = (i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
        let rows: Vec<HiddenColumns> = sqlx::query_as(
            "SELECT call_id, end_time, next_step_at
             FROM calls.user_calls ORDER BY call_id",
        )
        .fetch_all(&mut *connection)
        .await
        .expect("read");
        let model = self.model.calls.values().map(|row| {
            let id = row.call.call_id;
            (id, row.end_time, row.next_step_at)
        });
        assert_eq!(rows, model.collect::<Vec<_>>());
        let held: Vec<(i64, i64)> =
            sqlx::query_as("SELECT user_id, call_id FROM calls.live_parties ORDER BY user_id")
                .fetch_all(connection)
                .await
                .expect("read");
        let model = self.model.live_parties.iter();
        assert_eq!(
            held,
            model.map(|(user, call)| (*user, *call)).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn the_model_agrees_with_the_statements() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut connection = database.connect().await;
    let mut both = ModelAndDatabase {
        model: ModelRows::default(),
        rng: Rng::with_seed(1),
    };
    for _ in 0..STEPS {
        let mut tx = database.app.begin().await.expect("begun");
        if both.step(&mut tx).await {
            tx.commit().await.expect("committed");
        } else {
            tx.rollback().await.expect("rolled back");
        }
        both.compare_hidden_columns(&mut connection).await;
    }
    let settled = both
        .model
        .calls
        .values()
        .filter(|row| row.call.phase == CallPhase::Settled);
    assert!(settled.count() > 20, "too few calls were settled");
    let unanswered = both.model.calls.values();
    let unanswered = unanswered.filter(|row| row.call.phase == CallPhase::Unanswered);
    assert!(unanswered.count() > 20, "too few calls were unanswered");
}
