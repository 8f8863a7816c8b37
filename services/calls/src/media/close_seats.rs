//! Closes the seats of calls that are over: the relays stop carrying them, and the gateways stop passing signals.

use std::collections::BTreeMap;

use talktime_kit::Error;
use talktime_proto::calls::v1::SeatsClosed;
use talktime_proto::calls::v1::seat_message::Kind;
use tracing::Instrument;

use crate::domain::CallError;
use crate::domain::call::{Call, CallMedia};
use crate::domain::relay::SeatName;
use crate::service::CallService;
use crate::store::seats::{self, UncutSeat};

impl CallService {
    /// Closes the seats of a call that has just ended, or will not begin, in the background. If that fails, the watch
    /// of the media retries.
    pub(crate) fn close_seats_in_background(&self, call: &Call) {
        if call.media != CallMedia::Platform {
            return;
        }
        let (service, call) = (self.clone(), call.clone());
        let close = async move {
            if let Err(error) = service
                .close_seats(std::slice::from_ref(&call))
                .await
                .map_err(Error::from)
            {
                let call_id = call.call_id;
                tracing::warn!(%error, call_id, "failed to close the seats of a call; the watch of the media will retry");
            }
        };
        self.lifecycle.spawn(close.in_current_span());
    }

    /// Orders the relays and gateways of these calls, which are over, to close their seats.
    pub(super) async fn close_seats(&self, calls: &[Call]) -> Result<(), CallError> {
        let call_ids: Vec<i64> = calls.iter().map(|call| call.call_id).collect();
        let uncut = seats::list_uncut(&mut *self.db.acquire().await?, &call_ids).await?;
        if uncut.is_empty() {
            return Ok(());
        }
        for (realm, usernames) in names_by_realm(&uncut) {
            self.seat_messages.publish_cut(&realm, usernames).await?;
        }
        for call in calls {
            let seats_closed = |user_id| (user_id, Kind::Closed(SeatsClosed {}));
            let messages = call.parties().map(seats_closed).to_vec();
            self.seat_messages.publish(call.call_id, messages).await;
        }
        let mut tx = self.db.begin().await?;
        seats::record_cut(&mut tx, &call_ids).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Groups the names of seats by the relays that have to cut them. The name of a seat stands for all its credentials.
fn names_by_realm(uncut: &[UncutSeat]) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seat in uncut {
        let name = SeatName::new(seat.call_id, seat.role, seat.epoch);
        for realm in &seat.realms {
            names
                .entry(realm.clone())
                .or_default()
                .push(name.to_string());
        }
    }
    names
}
