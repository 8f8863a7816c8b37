//! How things stand, for a client that has missed more than is kept.

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

use super::channel::Channel;
use super::hub::Epoch;
use super::message::{Status, json};
use super::reader::Reader;
use crate::app::{Calls, Presence};
use crate::openapi::values;

/// People in a snapshot; a client that shows others asks for them (`GET /users/presence`).
const PEOPLE_MAX: i32 = 1_000;
/// When a replica dies, thousands come back at once: they share one answer.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Takes snapshots.
pub(super) struct Snapshots {
    presence: Presence,
    calls: Calls,
    feed: Mutex<Option<Shared>>,
    everyone: Mutex<Option<Shared>>,
}

/// Who is online, written once.
#[derive(Clone)]
struct Shared {
    taken_at: Instant,
    epoch: Arc<Epoch>,
    /// What it shows is at least as new as the message of this number.
    cursor: u64,
    people: Arc<Vec<(i64, Box<RawValue>)>>,
    is_complete: bool,
}

/// Who is online.
#[derive(Serialize, ToSchema)]
pub(super) struct People<'a> {
    #[schema(value_type = Vec<Status>)]
    statuses: Vec<&'a RawValue>,
    /// Whether everybody who is not named is offline.
    is_complete: bool,
}

/// The call that one is in.
#[derive(Serialize, ToSchema)]
pub(super) struct OwnCall {
    #[schema(required)]
    call: Option<Ongoing>,
}

#[derive(Serialize, ToSchema)]
struct Ongoing {
    call_id: i64,
    user_id: i64,
    listener_id: i64,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    #[schema(value_type = values::CallStatus)]
    status: &'static str,
    duration_seconds: i64,
    coins_spent: i64,
    /// Told to the caller alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remaining_coins: Option<i64>,
}

/// Notifications are not kept: the lists that they tell of are to be read again.
#[derive(Serialize, ToSchema)]
pub(super) struct Nothing {
    is_complete: bool,
}

impl Snapshots {
    pub(super) fn new(presence: Presence, calls: Calls) -> Self {
        Self {
            presence,
            calls,
            feed: Mutex::default(),
            everyone: Mutex::default(),
        }
    }

    /// The `data` of a snapshot of a channel, as this reader may see it. The reader is to go on after
    /// it.
    pub(super) async fn take(
        &self,
        channel: Channel,
        user_id: i64,
        reader: &mut Reader,
    ) -> Result<Box<RawValue>, Error> {
        match channel {
            Channel::Feed | Channel::Presence => {
                let shared = self.online(channel, reader.epoch()).await?;
                reader.step_to(shared.cursor);
                let people = shared.people.iter();
                let seen = people.filter(|(user_id, _)| reader.may_show(*user_id));
                Ok(raw(&People {
                    statuses: seen.map(|(_, status)| &**status).collect(),
                    is_complete: shared.is_complete,
                }))
            }
            Channel::Calls => self.own_call(user_id).await,
            Channel::Notifications => Ok(raw(&Nothing { is_complete: false })),
        }
    }

    async fn online(&self, channel: Channel, epoch: &Arc<Epoch>) -> Result<Shared, Error> {
        let listeners_only = channel == Channel::Feed;
        let shared = if listeners_only {
            &self.feed
        } else {
            &self.everyone
        };
        let mut shared = shared.lock().await;
        if let Some(shared) = &*shared
            && shared.taken_at.elapsed() < SHARED_FOR
            && Arc::ptr_eq(&shared.epoch, epoch)
        {
            return Ok(shared.clone());
        }
        let taken_at = Instant::now();
        let (cursor, _) = epoch.newest(channel, None);
        let request = ListOnlineRequest {
            listeners_only,
            limit: PEOPLE_MAX,
        };
        let online = retry_idempotent(|| {
            let mut presence = self.presence.clone();
            async move { presence.list_online(request).await }
        })
        .await?;
        let people = online.statuses.iter();
        let people = people.map(|status| (status.user_id, raw(&Status::from(status))));
        let fresh = Shared {
            taken_at,
            epoch: epoch.clone(),
            cursor,
            people: Arc::new(people.collect()),
            is_complete: !online.has_more,
        };
        Ok(shared.insert(fresh).clone())
    }

    async fn own_call(&self, user_id: i64) -> Result<Box<RawValue>, Error> {
        let ongoing = retry_idempotent(|| {
            let mut calls = self.calls.clone();
            async move { calls.get_ongoing(GetOngoingRequest { user_id }).await }
        })
        .await?;
        let call = ongoing.call.as_ref().map(Ongoing::of);
        Ok(raw(&OwnCall { call }))
    }
}

impl Ongoing {
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
    RawValue::from_string(json(value)).expect("what we write is JSON")
}
