//! Pairs of users whose calls take the same steps again and again, and the duration of each step.

use std::time::Instant;

use futures::future::try_join_all;
use hdrhistogram::Histogram;
use http::Method;
use serde_json::{Value, json};
use talktime_client::UserRole;

use crate::driver::LoadWorker;
use crate::http::HttpConnection;
use crate::people;
use crate::report::quantile;
use crate::stack::BenchStack;

/// Recharges of each caller, which suffice for thousands of calls.
const RECHARGES: usize = 20;

/// A request of a call, by one of its parties.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CallStep {
    Start,
    Ring,
    Accept,
    Cancel,
    End,
}

impl CallStep {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Ring => "ring",
            Self::Accept => "accept",
            Self::Cancel => "cancel",
            Self::End => "end",
        }
    }
}

/// The steps of a call from its beginning to its end.
pub(crate) type CallSteps = &'static [CallStep];

pub(crate) const START_AND_END: CallSteps = &[CallStep::Start, CallStep::End];
pub(crate) const RING_ACCEPT_AND_END: CallSteps =
    &[CallStep::Ring, CallStep::Accept, CallStep::End];
pub(crate) const RING_AND_CANCEL: CallSteps = &[CallStep::Ring, CallStep::Cancel];

/// A caller and a listener who have one call after another.
pub(crate) struct CallWorker {
    caller: HttpConnection,
    listener: HttpConnection,
    listener_id: i64,
    steps: CallSteps,
    latencies: Vec<Histogram<u64>>,
}

impl CallWorker {
    /// Signs up pairs, and recharges the callers.
    pub(crate) async fn prepare(stack: &BenchStack, count: usize) -> anyhow::Result<Vec<Self>> {
        let callers = people::sign_up(stack, UserRole::User, count).await?;
        let listeners = people::sign_up(stack, UserRole::Listener, count).await?;
        let mut workers = Vec::new();
        for (caller, listener) in callers.iter().zip(listeners) {
            let url = &stack.gateway_url;
            let mut worker = Self {
                caller: HttpConnection::open(url, &caller.access_token).await?,
                listener: HttpConnection::open(url, &listener.access_token).await?,
                listener_id: listener.user_id,
                steps: START_AND_END,
                latencies: Vec::new(),
            };
            worker.recharge().await?;
            workers.push(worker);
        }
        Ok(workers)
    }

    async fn recharge(&mut self) -> anyhow::Result<()> {
        let coins = json!({"amount_rupees": 1000, "payment_method": "upi"});
        for step in 0..RECHARGES {
            let (path, key) = ("/calls/recharge", format!("bench-{step}"));
            self.caller
                .request_ok(Method::POST, path, Some(&key), Some(&coins))
                .await?;
        }
        Ok(())
    }

    /// Chooses the steps of the next calls. Both users send a heartbeat, without which they would be gone.
    async fn choose_steps(&mut self, steps: CallSteps) -> anyhow::Result<()> {
        self.steps = steps;
        self.latencies = vec![Histogram::new(3)?; steps.len()];
        for connection in [&mut self.caller, &mut self.listener] {
            connection
                .request_ok(Method::POST, "/users/me/heartbeat", None, None)
                .await?;
        }
        Ok(())
    }

    /// Takes a step of a call, which is the first one without an id; returns the answer.
    async fn take_step(&mut self, step: CallStep, call_id: &Value) -> anyhow::Result<Value> {
        let listener_id = self.listener_id;
        let of_call = |action: &str| format!("/calls/{call_id}/{action}");
        let (connection, path, body) = match step {
            CallStep::Start | CallStep::Ring => {
                let rings = step == CallStep::Ring;
                let body = json!({"listener_id": listener_id, "call_type": "audio", "ring": rings});
                (&mut self.caller, "/calls/start".to_owned(), Some(body))
            }
            CallStep::Accept => (&mut self.listener, of_call("accept"), None),
            CallStep::Cancel => (&mut self.caller, of_call("cancel"), None),
            CallStep::End => {
                let body = json!({"call_id": call_id});
                (&mut self.caller, "/calls/end".to_owned(), Some(body))
            }
        };
        let answer = connection
            .request_ok(Method::POST, &path, None, body.as_ref())
            .await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl LoadWorker for CallWorker {
    async fn execute(&mut self) -> anyhow::Result<u64> {
        let mut call_id = Value::Null;
        for (index, step) in self.steps.iter().enumerate() {
            let started_at = Instant::now();
            let answer = self.take_step(*step, &call_id).await?;
            let took = u64::try_from(started_at.elapsed().as_micros())?;
            self.latencies[index].record(took)?;
            if call_id.is_null() {
                call_id = answer["call_id"].clone();
            }
        }
        Ok(1)
    }
}

/// Chooses the steps of the next calls of all pairs.
pub(crate) async fn choose_steps(
    workers: &mut [CallWorker],
    steps: CallSteps,
) -> anyhow::Result<()> {
    try_join_all(workers.iter_mut().map(|worker| worker.choose_steps(steps))).await?;
    Ok(())
}

/// Returns the durations of a step of all pairs since the steps were chosen, in microseconds.
pub(crate) fn sum_latencies(workers: &[CallWorker], step: CallStep) -> Histogram<u64> {
    let mut all = Histogram::new(3).expect("three digits are allowed");
    for worker in workers {
        let taken = worker.steps.iter().zip(&worker.latencies);
        for (_, latency) in taken.filter(|(taken, _)| **taken == step) {
            all += latency;
        }
    }
    all
}

/// Prints the duration of each step since the steps were chosen.
pub(crate) fn print_latencies(when: &str, workers: &[CallWorker]) {
    let steps = workers.first().map_or(START_AND_END, |worker| worker.steps);
    for step in steps {
        let all = sum_latencies(workers, *step);
        let (p50, p99) = (quantile(&all, 0.5), quantile(&all, 0.99));
        let name = step.name();
        println!("  {name:<6} {when:<22} p50 {p50:>6.1} ms  p99 {p99:>6.1} ms");
    }
}
