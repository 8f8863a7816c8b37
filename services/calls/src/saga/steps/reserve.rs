//! The reserve step: writes the rows of new calls, which makes both parties busy.

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{Database, PgConnection};
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::{Error, failpoint};

use crate::domain::CallError;
use crate::domain::call::Call;
use crate::saga::bounds::LEASE_SECS;
use crate::saga::requests::{START_ROUTE, StartedCall};
use crate::store::calls::{self, NewCall};
use crate::store::deleted_users;

/// Reserves a batch of new calls in one transaction.
pub(crate) struct ReserveBatchHandler {
    pub(crate) db: Database,
}

/// A new call and the idempotency key of the request for it.
#[derive(Clone)]
pub(crate) struct ReservationRequest {
    pub(crate) call: NewCall,
    pub(crate) idempotency: Option<idempotency::Request>,
}

/// The row in `reserving`, or the answer that the same request got before.
pub(crate) enum ReservationOutcome {
    Reserved(Box<Call>),
    Replayed(StartedCall),
}

type Answer = Result<ReservationOutcome, CallError>;

impl BatchHandler for ReserveBatchHandler {
    type Task = ReservationRequest;
    type Answer = Answer;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<ReservationRequest>],
    ) -> Result<Vec<Answer>, CallError> {
        let requests: Vec<&ReservationRequest> = group.iter().map(|member| &member.task).collect();
        if requests.iter().any(|request| request.idempotency.is_some()) {
            return self.reserve_under_keys(&requests).await;
        }
        let mut tx = self.db.begin().await?;
        let answers = reserve_calls(&mut tx, &requests).await?;
        failpoint::reach("calls.start.before_reserved");
        tx.commit().await?;
        Ok(answers)
    }

    /// If a party is busy, each call of the batch is tried alone. After any other failure the commit may
    /// have succeeded, and a second attempt would find the parties busy with their own calls.
    fn fails_whole_batch(error: &CallError) -> bool {
        !matches!(error, CallError::OnACall)
    }
}

impl ReserveBatchHandler {
    async fn reserve_under_keys(
        &self,
        requests: &[&ReservationRequest],
    ) -> Result<Vec<Answer>, CallError> {
        let keys: Vec<&idempotency::Request> = requests
            .iter()
            .filter_map(|request| request.idempotency.as_ref())
            .collect();
        let mut tx = self.db.begin().await?;
        let mut seen = idempotency::begin_all(&mut tx, &keys).await?.into_iter();
        let before: Vec<Option<Answer>> = requests
            .iter()
            .map(
                |request| match request.idempotency.as_ref().and_then(|_| seen.next()) {
                    Some(Ok(Seen::Before(started))) => {
                        Some(Ok(ReservationOutcome::Replayed(started)))
                    }
                    Some(Err(error)) => Some(Err(error.into())),
                    Some(Ok(Seen::First)) | None => None,
                },
            )
            .collect();
        let new = requests
            .iter()
            .zip(&before)
            .filter(|(_, before)| before.is_none());
        let new: Vec<&ReservationRequest> = new.map(|(request, _)| *request).collect();
        let reserved = reserve_calls(&mut tx, &new).await?;
        for (request, answer) in new.iter().zip(&reserved) {
            if let (Some(key), Err(_)) = (&request.idempotency, answer) {
                // A refusal is not recorded as the answer for the key, so that the client may try again.
                let user_id = request.call.user_id;
                idempotency::release(&mut tx, user_id, START_ROUTE, key.key()).await?;
            }
        }
        failpoint::reach("calls.start.before_reserved");
        tx.commit().await?;
        let mut reserved = reserved.into_iter();
        let answers = before
            .into_iter()
            .map(|before| before.or_else(|| reserved.next()))
            .map(|answer| answer.unwrap_or_else(|| Err(missing_answer())));
        Ok(answers.collect())
    }
}

fn missing_answer() -> CallError {
    Error::internal("a requested call was neither reserved nor refused").into()
}

async fn reserve_calls(
    tx: &mut PgConnection,
    requests: &[&ReservationRequest],
) -> Result<Vec<Answer>, CallError> {
    let new: Vec<&NewCall> = requests.iter().map(|request| &request.call).collect();
    let reserved = match calls::reserve(tx, &new, LEASE_SECS).await {
        Ok(reserved) => reserved,
        Err(error) if calls::is_party_taken(&error) => return Err(CallError::OnACall),
        Err(error) => return Err(error.into()),
    };
    let refused = new.iter().zip(&reserved);
    let refused = refused.filter(|(_, call)| call.is_none());
    let refused: Vec<i64> = refused
        .flat_map(|(new, _)| [new.user_id, new.listener_id])
        .collect();
    let gone = match refused.as_slice() {
        [] => vec![],
        refused => deleted_users::list_barred(tx, refused).await?,
    };
    let answers = new.iter().zip(reserved).map(|(new, call)| match call {
        Some(call) => Ok(ReservationOutcome::Reserved(Box::new(call))),
        None if gone.contains(&new.listener_id) => Err(CallError::NoSuchListener),
        None if gone.contains(&new.user_id) => Err(CallError::Undone),
        None => Err(CallError::OnACall),
    });
    Ok(answers.collect())
}
