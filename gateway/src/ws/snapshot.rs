//! Snapshots of the current state, for clients that missed messages which are no longer kept.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::{CallType, GetOngoingRequest, OngoingCall};
use talktime_proto::presence::v1::ListOnlineRequest;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::channel::SocketChannel;
use super::message::{Status, json};
use super::reader::SocketChannelReader;
use super::stream_state::EventStreamState;
use crate::call_state::{CallStateAnswer, load_ring_state};
use crate::clients::{CallsClient, PresenceClient, ProfileClient};
use crate::openapi::values;
use crate::token::CurrentUser;

/// Users in a snapshot. A client that shows others reads them with `GET /users/presence`.
const USERS_MAX: i32 = 1_000;
/// When a replica dies, thousands of clients connect again at once. They share one answer of presence.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Loads snapshots.
pub(super) struct ChannelSnapshotLoader {
    presence: PresenceClient,
    calls: CallsClient,
    profile: ProfileClient,
    online_listeners: Mutex<Option<CachedOnlineUsers>>,
    online_users: Mutex<Option<CachedOnlineUsers>>,
}

/// The users who are online, shared by snapshots.
#[derive(Clone)]
struct CachedOnlineUsers {
    loaded_at: Instant,
    stream: Arc<EventStreamState>,
    /// The statuses are at least as new as the message with this number.
    cursor: u64,
    statuses: Arc<Vec<(i64, Box<RawValue>)>>,
    is_complete: bool,
}

/// The users who are online.
#[derive(Serialize, ToSchema)]
#[schema(as = OnlineUsers)]
pub(super) struct OnlineUsersSnapshot<'a> {
    /// At most 1000 statuses. On `/ws/feed`, those of listeners.
    #[schema(value_type = Vec<Status>)]
    statuses: Vec<&'a RawValue>,
    /// Whether all users who are not listed are offline.
    is_complete: bool,
}

/// The current call of the user.
#[derive(Serialize, ToSchema)]
#[schema(as = CurrentCall)]
pub(super) struct CallSnapshot {
    /// Null when the user is not in a call.
    #[schema(required)]
    call: Option<OngoingCallData>,
    /// The call that rings or connects; null when there is none.
    #[schema(required)]
    ring: Option<CallStateAnswer>,
}

/// An ongoing call.
#[derive(Serialize, ToSchema)]
#[schema(as = Ongoing)]
struct OngoingCallData {
    call_id: i64,
    /// The caller.
    user_id: i64,
    listener_id: i64,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    #[schema(value_type = values::CallStatus)]
    status: &'static str,
    /// The duration so far, in seconds.
    duration_seconds: i64,
    /// Coins charged so far.
    coins_spent: i64,
    /// The caller's balance in coins. Only the caller receives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remaining_coins: Option<i64>,
}

/// The snapshot of a channel without a state: the client reads its lists and balances again.
#[derive(Serialize, ToSchema)]
#[schema(as = EmptySnapshot)]
pub(super) struct NotificationsSnapshot {
    /// Always false.
    is_complete: bool,
}

impl ChannelSnapshotLoader {
    pub(super) fn new(
        presence: PresenceClient,
        calls: CallsClient,
        profile: ProfileClient,
    ) -> Self {
        Self {
            presence,
            calls,
            profile,
            online_listeners: Mutex::default(),
            online_users: Mutex::default(),
        }
    }

    /// Loads the `data` of a snapshot, limited to what this reader may see, and moves the reader after it.
    pub(super) async fn load(
        &self,
        channel: SocketChannel,
        current_user: &CurrentUser,
        reader: &mut SocketChannelReader,
    ) -> Result<Box<RawValue>, Error> {
        match channel {
            SocketChannel::Feed | SocketChannel::Presence => {
                let online = self.load_online(channel, reader.stream()).await?;
                reader.move_to(online.cursor);
                let statuses = online.statuses.iter();
                let visible = statuses.filter(|(user_id, _)| reader.may_see(*user_id));
                Ok(raw(&OnlineUsersSnapshot {
                    statuses: visible.map(|(_, status)| &**status).collect(),
                    is_complete: online.is_complete,
                }))
            }
            SocketChannel::Calls => self.load_call(current_user).await,
            SocketChannel::Notifications => Ok(raw(&NotificationsSnapshot { is_complete: false })),
        }
    }

    async fn load_online(
        &self,
        channel: SocketChannel,
        stream: &Arc<EventStreamState>,
    ) -> Result<CachedOnlineUsers, Error> {
        let listeners_only = channel == SocketChannel::Feed;
        let shared = if listeners_only {
            &self.online_listeners
        } else {
            &self.online_users
        };
        let mut shared = shared.lock().await;
        if let Some(shared) = &*shared
            && shared.loaded_at.elapsed() < SHARED_FOR
            && Arc::ptr_eq(&shared.stream, stream)
        {
            return Ok(shared.clone());
        }
        let loaded_at = Instant::now();
        let cursor = stream.newest_seq(channel);
        let request = ListOnlineRequest {
            listeners_only,
            limit: USERS_MAX,
        };
        let online = retry_idempotent(&self.presence, PresenceClient::list_online, request).await?;
        let statuses = online.statuses.iter();
        let statuses = statuses.map(|status| (status.user_id, raw(&Status::from(status))));
        let fresh = CachedOnlineUsers {
            loaded_at,
            stream: stream.clone(),
            cursor,
            statuses: Arc::new(statuses.collect()),
            is_complete: !online.has_more,
        };
        Ok(shared.insert(fresh).clone())
    }

    async fn load_call(&self, current_user: &CurrentUser) -> Result<Box<RawValue>, Error> {
        let user_id = current_user.user_id;
        let ongoing = retry_idempotent(
            &self.calls,
            CallsClient::get_ongoing,
            GetOngoingRequest { user_id },
        );
        let ringing = load_ring_state(&self.calls, &self.profile, current_user);
        let (ongoing, ring) = tokio::try_join!(ongoing, ringing)?;
        let call = ongoing.call.as_ref().map(OngoingCallData::of);
        Ok(raw(&CallSnapshot { call, ring }))
    }
}

impl OngoingCallData {
    fn of(call: &OngoingCall) -> Self {
        Self {
            call_id: call.call_id,
            user_id: call.user_id,
            listener_id: call.listener_id,
            call_type: match call.call_type() {
                CallType::Video => "video",
                _ => "audio",
            },
            status: "ongoing",
            duration_seconds: call.duration_seconds,
            coins_spent: call.coins_spent,
            remaining_coins: call.remaining_coins,
        }
    }
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    RawValue::from_string(json(value)).expect("serde_json writes JSON")
}
