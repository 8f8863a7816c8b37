//! The other party of a call, as the current user sees them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use talktime_kit::error::chain;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::events::v1::CallPeer;
use talktime_proto::profile::v1::{GetPublicProfilesRequest, PublicProfile};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::clients::ProfileClient;
use crate::number::Hundredths;

/// A call must not wait for pictures: without an answer by then, people are shown without them.
const LOAD_TIMEOUT: Duration = Duration::from_millis(500);

/// The other party of a call, in answers and in messages.
#[derive(Serialize, ToSchema)]
pub struct PeerAnswer {
    user_id: i64,
    username: String,
    #[schema(required)]
    profile_image_url: Option<String>,
    /// 0 where nobody has rated.
    rating: Hundredths,
}

impl From<&CallPeer> for PeerAnswer {
    fn from(peer: &CallPeer) -> Self {
        Self {
            user_id: peer.user_id,
            username: peer.username.clone(),
            profile_image_url: peer.profile_image_url.clone(),
            rating: Hundredths::from_rating(peer.rating_hundredths),
        }
    }
}

/// Profiles of several people, as far as profile has answered.
pub struct CallPeerProfiles(HashMap<i64, PublicProfile>);

impl CallPeerProfiles {
    /// Loads profiles. Where profile does not answer in time, people are described without them.
    pub async fn load_best_effort(profile: &ProfileClient, user_ids: Vec<i64>) -> Self {
        if user_ids.is_empty() {
            return Self(HashMap::new());
        }
        let request = GetPublicProfilesRequest { user_ids };
        let loading = retry_idempotent(profile, ProfileClient::get_public_profiles, request);
        match timeout(LOAD_TIMEOUT, loading).await {
            Ok(Ok(found)) => {
                let profiles = found.profiles.into_iter();
                Self(profiles.map(|found| (found.user_id, found)).collect())
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = chain(&error),
                    "failed to load profiles of call parties; they are shown without pictures"
                );
                Self(HashMap::new())
            }
            Err(_elapsed) => Self(HashMap::new()),
        }
    }

    /// Describes a person; `username` is used if there is no profile.
    pub fn describe(&self, user_id: i64, username: String) -> PeerAnswer {
        let profile = self.0.get(&user_id);
        PeerAnswer {
            user_id,
            username: profile.map_or(username, |profile| profile.username.clone()),
            profile_image_url: profile.and_then(|profile| profile.profile_image_url.clone()),
            rating: Hundredths::from_rating(profile.and_then(|profile| profile.rating_hundredths)),
        }
    }
}
