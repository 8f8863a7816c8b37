//! The gRPC clients of the services. They are cheap to clone and share one channel for each service.

use talktime_kit::grpc::client::{PeerChannel, PeerHealth};
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::verification::v1::data_export_service_client::DataExportServiceClient;
use talktime_proto::verification::v1::profile_photo_service_client::ProfilePhotoServiceClient;
use talktime_proto::verification::v1::verification_service_client::VerificationServiceClient;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;

/// Logins and tokens.
pub type AuthClient = AuthServiceClient<PeerChannel>;
/// Users, favourites, blocks and the feed.
pub type ProfileClient = ProfileServiceClient<PeerChannel>;
/// Statuses of users.
pub type PresenceClient = PresenceServiceClient<PeerChannel>;
/// Coins and rupees.
pub type WalletClient = WalletServiceClient<PeerChannel>;
/// Calls, ratings and badges.
pub type CallsClient = CallsServiceClient<PeerChannel>;
/// Audio samples of listeners.
pub type VerificationClient = VerificationServiceClient<PeerChannel>;
/// Exports of users' own data.
pub type DataExportClient = DataExportServiceClient<PeerChannel>;
/// Photos of users.
pub type PhotoClient = ProfilePhotoServiceClient<PeerChannel>;

/// Reports whether presence serves, and so whether profile's copy of the statuses is up to date.
#[derive(Clone)]
pub struct PresenceHealth(PeerHealth);

impl PresenceHealth {
    /// Wraps the health of the channel to presence.
    pub fn new(health: PeerHealth) -> Self {
        Self(health)
    }

    /// Returns whether statuses are current. Otherwise they are the last known ones.
    pub fn has_current_statuses(&self) -> bool {
        self.0.serves()
    }
}
