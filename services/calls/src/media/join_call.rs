//! Takes seats, renews their credentials, and gives them up.

use talktime_kit::db::PgConnection;
use talktime_proto::calls::v1::seat_message::Kind;

use super::{JoinRequest, JoinedSeat, SeatRequest};
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::relay::{SeatName, SeatRole};
use crate::domain::relay_choice::RelayAddress;
use crate::domain::seats::{self as decisions, Seat, SeatPair};
use crate::media::relay_credentials::IceServer;
use crate::service::CallService;
use crate::store::seats::NewSeat;
use crate::store::{calls, seats};

impl CallService {
    /// Takes the seat of a session at a call. The same session gets a new epoch each time, and goes on with its
    /// connection; another session of the user must take the seat over.
    ///
    /// # Errors
    ///
    /// [`CallError::NoSuchCall`], [`CallError::NotAParty`], [`CallError::MediaNotPlatform`],
    /// [`CallError::NotInCall`] unless the call is accepted and not over, [`CallError::SeatTaken`],
    /// [`CallError::NoRelay`].
    pub(crate) async fn join_call(&self, join: &JoinRequest) -> Result<JoinedSeat, CallError> {
        let mut tx = self.db.begin().await?;
        // The lock orders joins of both sides, and a join with the end of the call.
        let locked = calls::lock_by_ids(&mut tx, &[join.call_id]).await?;
        let call = locked.into_iter().next().ok_or(CallError::NoSuchCall)?;
        let role = decisions::require_role(&call, join.user_id)?;
        let pair = seats::find_present(&mut tx, call.call_id).await?;
        let (present, session_id) = (pair.seat(role), &join.session_id);
        let epoch = decisions::evaluate_join(&call, role, session_id, join.take_over, present)?;
        let inherits = present.is_some_and(|seat| seat.session_id == *session_id);
        let relays = self.load_relays(&mut tx, join.call_id).await?;
        let realms = relays.iter().map(|relay| relay.realm.clone());
        let new = NewSeat {
            call_id: call.call_id,
            role,
            epoch,
            session_id,
            realms: realms.collect(),
            inherits,
        };
        seats::insert(&mut tx, &new).await?;
        tx.commit().await?;
        self.publish_joined(&call, role, epoch).await;
        let seat = SeatName::new(call.call_id, role, epoch);
        Ok(self.joined_seat(&call, seat, &pair, &relays))
    }

    /// Returns new credentials for a seat, with which its app restarts ICE.
    ///
    /// # Errors
    ///
    /// As [`CallService::join_call`], and [`CallError::StaleEpoch`] unless the seat is the present one.
    pub(crate) async fn refresh_seat(
        &self,
        request: SeatRequest,
    ) -> Result<Vec<IceServer>, CallError> {
        let mut tx = self.db.begin().await?;
        let seat = load_present_seat(&mut tx, request).await?.seat;
        let relays = self.load_relays(&mut tx, request.call_id).await?;
        let realms: Vec<String> = relays.iter().map(|relay| relay.realm.clone()).collect();
        seats::add_realms(&mut tx, &seat, &realms).await?;
        tx.commit().await?;
        let name = SeatName::new(request.call_id, seat.role, seat.epoch);
        Ok(self.sign_credentials(name, &relays))
    }

    /// Gives up a seat; the call goes on.
    ///
    /// # Errors
    ///
    /// As [`CallService::refresh_seat`].
    pub(crate) async fn leave_seat(&self, request: SeatRequest) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        let PresentSeat { call, pair, seat } = load_present_seat(&mut tx, request).await?;
        let left = seats::record_left(&mut tx, &seat).await?;
        tx.commit().await?;
        let left = left.ok_or(CallError::StaleEpoch)?;
        let peer_user_id = left.role.other().user_id(&call);
        let message = (peer_user_id, Kind::PeerLeft(left.epoch));
        self.seat_messages
            .publish(call.call_id, vec![message])
            .await;
        self.publish_state_change(&call, &pair, &pair.clone().with_seat(left))
            .await;
        Ok(())
    }

    async fn load_relays(
        &self,
        connection: &mut PgConnection,
        call_id: i64,
    ) -> Result<Vec<RelayAddress>, CallError> {
        let relays = self.relays.load_relays(connection, call_id).await?;
        if relays.is_empty() {
            return Err(CallError::NoRelay);
        }
        Ok(relays)
    }

    async fn publish_joined(&self, call: &Call, role: SeatRole, epoch: i32) {
        let messages = vec![
            (role.user_id(call), Kind::Taken(epoch)),
            (role.other().user_id(call), Kind::PeerJoined(epoch)),
        ];
        self.seat_messages.publish(call.call_id, messages).await;
    }

    fn joined_seat(
        &self,
        call: &Call,
        seat: SeatName,
        pair: &SeatPair,
        relays: &[RelayAddress],
    ) -> JoinedSeat {
        let peer_role = seat.role.other();
        let is_connecting = call.phase == CallPhase::Connecting;
        let accepted_at = call.accepted_at.filter(|_| is_connecting);
        JoinedSeat {
            call_id: call.call_id,
            epoch: seat.epoch,
            role: seat.role,
            peer_user_id: peer_role.user_id(call),
            peer_epoch: pair.held_epoch(peer_role),
            ice_servers: self.sign_credentials(seat, relays),
            connect_deadline: accepted_at.map(|at| at + self.terms.limits.connect),
        }
    }

    fn sign_credentials(&self, seat: SeatName, relays: &[RelayAddress]) -> Vec<IceServer> {
        let now = self.clock.now();
        let signer = self.credentials.as_ref();
        signer.map_or(vec![], |signer| signer.sign(seat, relays, now))
    }
}

/// A seat that is in use, with its call.
pub(super) struct PresentSeat {
    pub(super) call: Call,
    /// Both seats of the call.
    pub(super) pair: SeatPair,
    pub(super) seat: Seat,
}

/// Loads the seat of a request, which must be the present one, with its call.
pub(super) async fn load_present_seat(
    connection: &mut PgConnection,
    request: SeatRequest,
) -> Result<PresentSeat, CallError> {
    let call = calls::find(connection, request.call_id).await?;
    let call = call.ok_or(CallError::NoSuchCall)?;
    let role = decisions::require_role(&call, request.user_id)?;
    let pair = seats::find_present(connection, call.call_id).await?;
    let seat = decisions::require_seat(&pair, role, request.epoch)?.clone();
    Ok(PresentSeat { call, pair, seat })
}
