//! How calls stand now, and the rings that led to no call.

use talktime_kit::paging::ListPageRequest;

use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::service::CallService;
pub(crate) use crate::store::rings::{RingDirection, UnansweredCall};
use crate::store::{rings, seen_unanswered};

/// Maximum offset of a page: 100,000 calls.
const OFFSET_MAX: i64 = 100_000;

/// A page of unanswered calls.
#[derive(Clone, Debug)]
pub struct UnansweredCallPage {
    pub calls: Vec<UnansweredCall>,
    pub total: i64,
    /// Incoming calls since the user last marked them as seen.
    pub unseen: i64,
}

impl CallService {
    /// Finds how a call stands for one of its parties; without an id, the call that the user is busy with.
    ///
    /// # Errors
    ///
    /// [`CallError::NoSuchCall`], [`CallError::NotAParty`].
    pub async fn find_call_state(
        &self,
        user_id: i64,
        call_id: Option<i64>,
    ) -> Result<Option<Call>, CallError> {
        let Some(call_id) = call_id else {
            let call = self.find_call_of(user_id).await?;
            return Ok(call.filter(is_visible));
        };
        let call = self.find_party_call(call_id, user_id).await?;
        if is_visible(&call) {
            Ok(Some(call))
        } else {
            Err(CallError::NoSuchCall)
        }
    }

    /// Lists a page of the rings of a user that led to no call, newest first.
    pub async fn list_unanswered(
        &self,
        user_id: i64,
        direction: Option<RingDirection>,
        page: ListPageRequest,
    ) -> Result<UnansweredCallPage, CallError> {
        let (limit, offset) = (page.limit(), page.offset().min(OFFSET_MAX));
        let mut connection = self.db.acquire().await?;
        let calls = rings::list_unanswered(&mut connection, user_id, direction, limit, offset);
        let calls = calls.await?;
        let total = rings::count_unanswered(&mut connection, user_id, direction).await?;
        let unseen = seen_unanswered::count_unseen(&mut connection, user_id).await?;
        Ok(UnansweredCallPage {
            calls,
            total,
            unseen,
        })
    }

    /// Records that a user has seen all of their incoming unanswered calls.
    pub async fn mark_unanswered_seen(&self, user_id: i64) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        seen_unanswered::mark_seen(&mut tx, user_id).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Whether anyone may see the call: a start at once is nobody's call before it is live.
fn is_visible(call: &Call) -> bool {
    call.is_ring() || !matches!(call.phase, CallPhase::Reserving | CallPhase::Undoing)
}
