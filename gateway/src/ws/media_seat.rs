//! The seat of a socket in a call that the platform's media carries: what the app sends through it, and what arrives
//! for it.
//!
//! The calls service names the other party once, at the join. From then on the gateways of both pass signals on by
//! themselves, over core NATS: a signal is a request, which the gateway with the seat of the other party answers. The
//! subject follows from the other party, never from the client, and nothing is stored.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use prost::Message as _;
use talktime_proto::calls::seat_subject;
use talktime_proto::calls::v1::seat_message::Kind;
use talktime_proto::calls::v1::{SeatMessage, SeatSignal};
use tokio::time::{sleep, timeout};

use super::media_failures::{BAD_SIGNAL, NOT_IN_CALL, PEER_AWAY, SIGNAL_LIMIT, STALE_EPOCH};
use super::media_messages::{JoinedMessage, SeatRef};
use super::message::ErrorMessage;
use crate::signaling::{InvalidSignal, SignalBody};

/// The session sends nothing else while it waits for the other gateway.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit for messages to NATS, which are only buffered.
const NATS_TIMEOUT: Duration = Duration::from_millis(200);
const SIGNALS_A_MINUTE_MAX: u32 = 60;
/// Messages that are taken while a signal of the app waits for its answer.
const WAITING_MAX: usize = 64;
const MINUTE: Duration = Duration::from_mins(1);

/// The seat of a socket.
pub(super) struct MediaSeat {
    joined: JoinedMessage,
    peer: PeerSeat,
    messages: Subscriber,
    /// Messages that have been taken and not been delivered to the app.
    waiting: VecDeque<Kind>,
    rate: SignalRate,
}

/// The seat of the other party, as far as messages have told this socket.
pub(super) struct PeerSeat {
    user_id: i64,
    /// The greatest known epoch; 0 before the other party has joined.
    epoch: i32,
}

impl PeerSeat {
    pub(super) fn new(user_id: i64, epoch: Option<i32>) -> Self {
        Self {
            user_id,
            epoch: epoch.unwrap_or_default(),
        }
    }

    /// Applies a message about the seat; returns false if it is about an older seat than the present one. The
    /// message about a join that `joined` includes already may arrive after it.
    fn accept(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::PeerJoined(epoch) => {
                let is_new = *epoch > self.epoch;
                self.epoch = self.epoch.max(*epoch);
                is_new
            }
            Kind::PeerLeft(epoch) => *epoch >= self.epoch,
            _ => true,
        }
    }
}

/// Messages for the sockets of a user. The subscription precedes the join, so no message is missed.
pub(super) async fn subscribe_seat(nats: &Client, user_id: i64) -> Option<Subscriber> {
    let subscribing = nats.subscribe(seat_subject(user_id));
    timeout(NATS_TIMEOUT, subscribing).await.ok()?.ok()
}

impl MediaSeat {
    pub(super) fn new(joined: JoinedMessage, peer: PeerSeat, messages: Subscriber) -> Self {
        Self {
            joined,
            peer,
            messages,
            waiting: VecDeque::new(),
            rate: SignalRate::new(),
        }
    }

    pub(super) fn call_id(&self) -> i64 {
        self.joined.call_id
    }

    pub(super) fn epoch(&self) -> i32 {
        self.joined.epoch
    }

    /// The answer to the join of the app.
    pub(super) fn joined_mut(&mut self) -> &mut JoinedMessage {
        &mut self.joined
    }

    /// Sends a signal to the other party. Meanwhile it answers those that arrive: the other gateway waits as well if both
    /// parties send at the same time.
    pub(super) async fn send_signal(
        &mut self,
        nats: &Client,
        body: SignalBody,
    ) -> Result<(), ErrorMessage<'static>> {
        if !self.rate.admit(Instant::now()) {
            return Err(SIGNAL_LIMIT);
        }
        let Some(body) = body.filter().map_err(|InvalidSignal| BAD_SIGNAL)? else {
            return Ok(());
        };
        let signal = SeatSignal {
            from_epoch: self.epoch(),
            data: super::message::json(&body),
        };
        let message = SeatMessage {
            call_id: self.call_id(),
            kind: Some(Kind::Signal(signal)),
        };
        let subject = seat_subject(self.peer.user_id);
        let mut request = pin!(nats.request(subject, message.encode_to_vec().into()));
        let mut deadline = pin!(sleep(SIGNAL_TIMEOUT));
        loop {
            tokio::select! {
                // An error is a party without a seat anywhere.
                answered = &mut request => return answered.map(drop).map_err(|_| PEER_AWAY),
                () = &mut deadline => return Err(PEER_AWAY),
                () = self.take_message(nats), if self.waiting.len() < WAITING_MAX => {}
            }
        }
    }

    /// Waits for the next message about the call of this seat.
    async fn receive(&mut self, nats: &Client) -> Kind {
        loop {
            if let Some(kind) = self.waiting.pop_front() {
                return kind;
            }
            self.take_message(nats).await;
        }
    }

    /// Takes the next message, and answers it if it is about the call of this seat.
    async fn take_message(&mut self, nats: &Client) {
        let Some(message) = self.messages.next().await else {
            // NATS has closed the subscription; the session ends with its own connection.
            return pending().await;
        };
        let Some(kind) = self.decode(&message) else {
            return;
        };
        // Before the answer, at which the session may turn to something else.
        self.waiting.push_back(kind);
        if let Some(reply) = message.reply {
            let answering = nats.publish(reply, Bytes::new());
            // A lost answer looks like an absent party, and the sender tries again.
            let _ = timeout(NATS_TIMEOUT, answering).await;
        }
    }

    fn decode(&mut self, message: &Message) -> Option<Kind> {
        let decoded = SeatMessage::decode(message.payload.clone()).ok()?;
        let kind = decoded.kind?;
        let is_mine = decoded.call_id == self.call_id();
        // The message about the join of this very seat.
        let is_old = matches!(kind, Kind::Taken(epoch) if epoch <= self.epoch());
        (is_mine && !is_old && self.peer.accept(&kind)).then_some(kind)
    }
}

/// Waits for the next message for a seat; without a seat it never returns.
pub(super) async fn receive_for_seat(seat: &mut Option<MediaSeat>, nats: &Client) -> Kind {
    match seat {
        Some(seat) => seat.receive(nats).await,
        None => pending().await,
    }
}

/// Returns the seat that a message of the client names.
pub(super) fn require_seat(
    seat: &mut Option<MediaSeat>,
    named: SeatRef,
) -> Result<&mut MediaSeat, ErrorMessage<'static>> {
    match seat {
        Some(seat) if seat.call_id() != named.call_id => Err(NOT_IN_CALL),
        Some(seat) if seat.epoch() != named.epoch => Err(STALE_EPOCH),
        Some(seat) => Ok(seat),
        None => Err(NOT_IN_CALL),
    }
}

/// Counts the signals of a seat in windows of a minute.
struct SignalRate {
    window_began: Instant,
    in_window: u32,
}

impl SignalRate {
    fn new() -> Self {
        Self {
            window_began: Instant::now(),
            in_window: 0,
        }
    }

    /// Counts a signal; returns false if there were too many in this minute.
    fn admit(&mut self, now: Instant) -> bool {
        if now - self.window_began >= MINUTE {
            self.window_began = now;
            self.in_window = 0;
        }
        self.in_window = self.in_window.saturating_add(1);
        self.in_window <= SIGNALS_A_MINUTE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_sends_sixty_signals_a_minute() {
        let mut rate = SignalRate::new();
        let now = rate.window_began;
        assert!((0..SIGNALS_A_MINUTE_MAX).all(|_| rate.admit(now)));
        assert!(!rate.admit(now));
        assert!(rate.admit(now + MINUTE));
    }

    #[test]
    fn messages_about_older_seats_of_the_peer_are_ignored() {
        let mut peer = PeerSeat::new(7, Some(1));
        assert!(!peer.accept(&Kind::PeerJoined(1)), "`joined` has said it");
        assert!(peer.accept(&Kind::PeerJoined(2)));
        assert!(!peer.accept(&Kind::PeerLeft(1)), "the peer is back");
        assert!(peer.accept(&Kind::PeerLeft(2)));
        assert!(peer.accept(&Kind::PeerJoined(3)));
        assert!(PeerSeat::new(7, None).accept(&Kind::PeerJoined(1)));
    }
}
