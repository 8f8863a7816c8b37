//! What handlers are given: each names the parts that it uses.

use std::sync::Arc;

use axum::extract::FromRef;
use talktime_kit::grpc::client::{PeerChannel, PeerHealth, connect, connect_and_watch};
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::{Clock, redis};
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::verification::v1::verification_service_client::VerificationServiceClient;
use talktime_proto::wallet::v1::wallet_service_client::WalletServiceClient;

use crate::config::{CompatibilityConfig, Config};
use crate::extract::TrustedProxies;
use crate::heartbeats::Heartbeats;
use crate::keys::Keys;
use crate::limits::Limits;
use crate::revocations::Revocations;
use crate::token::Tokens;
use crate::ws::{Gate, Hub, Places};

/// The auth service.
pub type Auth = AuthServiceClient<PeerChannel>;
/// The profile service.
pub type Profile = ProfileServiceClient<PeerChannel>;
/// The presence service.
pub type Presence = PresenceServiceClient<PeerChannel>;
/// The wallet.
pub type Wallet = WalletServiceClient<PeerChannel>;
/// The calls service.
pub type Calls = CallsServiceClient<PeerChannel>;
/// The verification service.
pub type Verification = VerificationServiceClient<PeerChannel>;

/// Whether presence serves, and so whether the statuses that profile has a copy of are kept up.
#[derive(Clone)]
pub struct PresenceHealth(PeerHealth);

impl PresenceHealth {
    /// Whether they are of now; else they are the last known.
    pub fn has_current_statuses(&self) -> bool {
        self.0.serves()
    }
}

/// The state of the router. Every layer and extractor of every request clones it, and a dozen clients
/// with it, if they were not shared.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts, and how a handler gets each.
macro_rules! parts {
    ($($name:ident: $part:ty,)*) => {
        struct Parts {
            $($name: $part,)*
        }
        $(impl FromRef<App> for $part {
            fn from_ref(app: &App) -> Self {
                app.0.$name.clone()
            }
        })*
    };
}

parts! {
    auth: Auth,
    profile: Profile,
    presence: Presence,
    presence_health: PresenceHealth,
    wallet: Wallet,
    calls: Calls,
    verification: Verification,
    keys: Keys,
    revocations: Revocations,
    tokens: Tokens,
    heartbeats: Heartbeats,
    hub: Hub,
    limits: Limits,
    places: Places,
    gate: Gate,
    lifecycle: Lifecycle,
    clock: Clock,
    trusted_proxies: TrustedProxies,
    compatibility: CompatibilityConfig,
}

impl App {
    /// Prepares every connection and waits for none.
    pub fn connect(config: &Config, clock: Clock, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let peers = &config.peers;
        let auth = Auth::new(connect(&peers.auth)?);
        let keys = Keys::new(auth.clone());
        let redis = redis::connect(&config.redis)?;
        let revocations = Revocations::new(auth.clone(), redis.clone(), clock.clone());
        let tokens = Tokens::new(keys.clone(), revocations.clone(), clock.clone());
        let profile = Profile::new(connect(&peers.profile)?);
        let (presence, presence_health) = connect_and_watch(&peers.presence)?;
        let presence = Presence::new(presence);
        let calls = Calls::new(connect(&peers.calls)?);
        let (heartbeats, carrying) =
            Heartbeats::new(presence.clone(), clock.clone(), lifecycle.stopping());
        lifecycle.spawn(carrying);
        let hub = Hub::new(
            profile.clone(),
            presence.clone(),
            config.require_verified_listeners,
        );
        let places = Places::new(redis.clone());
        let gate = Gate::new(
            tokens.clone(),
            hub.clone(),
            places.clone(),
            presence.clone(),
            calls.clone(),
            heartbeats.clone(),
            lifecycle.clone(),
            clock.clone(),
            config.sockets,
        );
        Ok(Self(Arc::new(Parts {
            auth,
            profile,
            presence,
            presence_health: PresenceHealth(presence_health),
            wallet: Wallet::new(connect(&peers.wallet)?),
            calls,
            verification: Verification::new(connect(&peers.verification)?),
            keys,
            revocations,
            tokens,
            heartbeats,
            hub,
            limits: Limits::new(config.limits, redis),
            places,
            gate,
            lifecycle,
            clock,
            trusted_proxies: TrustedProxies::new(&config.http.trusted_proxies),
            compatibility: config.compatibility,
        })))
    }

    /// The keys that tokens are checked with.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The tokens that hold no more.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// What sockets are told.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// How many sockets each user has.
    pub fn places(&self) -> &Places {
        &self.0.places
    }
}
