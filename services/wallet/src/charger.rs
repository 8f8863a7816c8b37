//! Charges that come one by one share transactions: while one group commits the next one gathers, so
//! that a busy wallet waits for the disk once for many. Each caller is answered after the commit that
//! its own charge is in. A quiet wallet has groups of one and nobody waits for a second.

use std::sync::Arc;

use futures::future::join_all;
use talktime_kit::{Error, Kind, trace};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::ledger::{Ledger, Outcome};

/// Charges of one group, at most.
const GROUP_MAX: usize = 64;
/// Groups under way at once, at most: one that waits for a locked wallet does not hold up the rest.
const GROUPS_AT_ONCE: usize = 4;
/// Charges that wait for a group, at most. More than the server lets in at once is never needed.
const WAITING_MAX: usize = 4_096;

/// A charge whose caller waits.
struct Waiting {
    charge: Charge,
    /// The trace that asked, for its events.
    traceparent: Option<String>,
    answer: oneshot::Sender<Result<Outcome, WalletError>>,
}

/// Takes single charges; cheap to clone.
#[derive(Clone)]
pub struct Charger {
    queue: mpsc::Sender<Waiting>,
}

impl Charger {
    /// Starts working on `ledger`, in the background, until the last clone is gone.
    pub fn start(ledger: &Ledger) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..GROUPS_AT_ONCE {
            tokio::spawn(work(ledger.clone(), waiting.clone()));
        }
        Self { queue }
    }

    /// Charges one minute; the same as a batch of one.
    pub async fn charge(&self, charge: Charge) -> Result<Outcome, WalletError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            charge,
            traceparent: trace::current(),
            answer,
        };
        self.queue.send(waiting).await.map_err(|_| broken_off())?;
        answered.await.map_err(|_| broken_off())?
    }
}

/// The worker died with the charge in hand: nothing but the same charge again tells what became of it.
fn broken_off() -> WalletError {
    let detail = "Please try again in a moment.";
    Error::new(Kind::Unavailable, "charge_broken_off", detail).into()
}

async fn work(ledger: Ledger, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let mut group = Vec::with_capacity(GROUP_MAX);
        let taken = waiting.lock().await.recv_many(&mut group, GROUP_MAX).await;
        if taken == 0 {
            return;
        }
        // Whoever has stopped waiting may have asked again.
        group.retain(|waiting| !waiting.answer.is_closed());
        charge_group(&ledger, group).await;
    }
}

/// Charges a group in one transaction. One that cannot be charged as a whole, because a charge of it
/// is refused or comes twice, is charged one by one.
async fn charge_group(ledger: &Ledger, group: Vec<Waiting>) {
    let charges: Vec<Charge> = group.iter().map(|waiting| waiting.charge).collect();
    let traces: Vec<Option<String>> = group
        .iter()
        .map(|waiting| waiting.traceparent.clone())
        .collect();
    match ledger.charge_traced(&charges, &traces).await {
        Ok(outcomes) => {
            for (waiting, outcome) in group.into_iter().zip(outcomes) {
                // Nobody may be waiting any more: the charge stands all the same.
                let _ = waiting.answer.send(Ok(outcome));
            }
        }
        Err(_) => {
            join_all(
                group
                    .into_iter()
                    .map(|waiting| charge_alone(ledger, waiting)),
            )
            .await;
        }
    }
}

async fn charge_alone(ledger: &Ledger, waiting: Waiting) {
    let traces = [waiting.traceparent];
    let charged = ledger.charge_traced(&[waiting.charge], &traces).await;
    let _ = waiting.answer.send(charged.map(|outcomes| outcomes[0]));
}
