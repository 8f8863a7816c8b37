//! Ratings of listeners by callers. Profile receives the sums and publishes the mean.

use talktime_kit::messaging::outbox;

use crate::domain::CallError;
use crate::domain::rating::CallRating;
use crate::events::call_rated;
use crate::service::CallService;
use crate::store::call_ratings;

impl CallService {
    /// Records the rating of a call by its caller, once; returns the id of the listener.
    ///
    /// # Errors
    ///
    /// [`CallError::AlreadyRated`] for a second rating; otherwise the reason why the user may not rate this
    /// call.
    pub async fn rate_call(
        &self,
        call_id: i64,
        user_id: i64,
        rating: &CallRating,
    ) -> Result<i64, CallError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let call = call_ratings::lock_rated_call(&mut tx, call_id).await?;
        let call = call.ok_or(CallError::UnknownCall)?;
        call.check_ratable_by(user_id, now)?;
        let listener_id = call.listener_id;
        if !call_ratings::insert_rating(&mut tx, call_id, listener_id, rating, now).await? {
            return Err(CallError::AlreadyRated);
        }
        let totals = call_ratings::add_stars(&mut tx, listener_id, rating.stars).await?;
        let rated = call_rated(call_id, user_id, listener_id, totals);
        outbox::append(&mut tx, listener_id, totals.ratings_total, now, rated).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(listener_id)
    }
}
