//! The state of the router, from which each handler extracts the parts that it uses.

use std::sync::Arc;

use axum::extract::FromRef;
use talktime_kit::grpc::client::PeerConnector;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::tokens::SigningKeys;
use talktime_kit::{Clock, redis};
use talktime_proto::access::v1::Workload;

use crate::app_config::AppConfigFile;
use crate::clients::{
    AuthClient, CallsClient, DataExportClient, PhotoClient, PresenceClient, PresenceHealth,
    ProfileClient, VerificationClient, WalletClient,
};
use crate::config::{CompatibilityConfig, GatewayConfig, PeerAddressConfig};
use crate::extract::TrustedProxies;
use crate::heartbeats::HeartbeatForwarder;
use crate::limits::RateLimiter;
use crate::pending_ends::PendingCallEnds;
use crate::recent_login::RecentLoginRule;
use crate::revocations::RevocationList;
use crate::token::TokenVerifier;
use crate::ws::{SocketConnectionSlots, SocketHub, SocketService, SocketTickets};

/// The state of the router. Every layer and extractor of every request clones it, so all parts are behind one
/// reference count.
#[derive(Clone)]
pub struct AppState(Arc<AppStateParts>);

/// Declares the parts and lets handlers extract each of them.
macro_rules! parts {
    ($($name:ident: $part:ty,)*) => {
        struct AppStateParts {
            $($name: $part,)*
        }
        $(impl FromRef<AppState> for $part {
            fn from_ref(app: &AppState) -> Self {
                app.0.$name.clone()
            }
        })*
    };
}

parts! {
    auth: AuthClient,
    profile: ProfileClient,
    presence: PresenceClient,
    presence_health: PresenceHealth,
    wallet: WalletClient,
    calls: CallsClient,
    pending_ends: PendingCallEnds,
    verification: VerificationClient,
    photos: PhotoClient,
    data_exports: DataExportClient,
    keys: SigningKeys,
    revocations: RevocationList,
    tokens: TokenVerifier,
    heartbeats: HeartbeatForwarder,
    hub: SocketHub,
    limits: RateLimiter,
    slots: SocketConnectionSlots,
    sockets: SocketService,
    socket_tickets: SocketTickets,
    lifecycle: ProcessLifecycle,
    clock: Clock,
    trusted_proxies: TrustedProxies,
    recent_login: RecentLoginRule,
    compatibility: CompatibilityConfig,
    app_config: AppConfigFile,
}

/// The clients of all services.
struct PeerClients {
    auth: AuthClient,
    profile: ProfileClient,
    presence: PresenceClient,
    presence_health: PresenceHealth,
    wallet: WalletClient,
    calls: CallsClient,
    verification: VerificationClient,
    photos: PhotoClient,
    data_exports: DataExportClient,
}

impl PeerClients {
    fn connect(connector: &PeerConnector, peers: &PeerAddressConfig) -> anyhow::Result<Self> {
        let (presence, health) =
            connector.connect_and_watch(Workload::Presence, &peers.presence)?;
        let verification = connector.connect(Workload::Verification, &peers.verification)?;
        Ok(Self {
            auth: AuthClient::new(connector.connect(Workload::Auth, &peers.auth)?),
            profile: ProfileClient::new(connector.connect(Workload::Profile, &peers.profile)?),
            presence: PresenceClient::new(presence),
            presence_health: PresenceHealth::new(health),
            wallet: WalletClient::new(connector.connect(Workload::Wallet, &peers.wallet)?),
            calls: CallsClient::new(connector.connect(Workload::Calls, &peers.calls)?),
            verification: VerificationClient::new(verification.clone()),
            photos: PhotoClient::new(verification.clone()),
            data_exports: DataExportClient::new(verification),
        })
    }
}

impl AppState {
    /// Creates all parts. Connections are established in the background.
    pub fn connect(
        config: &GatewayConfig,
        connector: &PeerConnector,
        nats: async_nats::Client,
        clock: Clock,
        lifecycle: ProcessLifecycle,
    ) -> anyhow::Result<Self> {
        let peers = PeerClients::connect(connector, &config.peers)?;
        let app_config = AppConfigFile::open(config.app_config_file.clone())?;
        app_config.start_reloads(&lifecycle);
        let keys = SigningKeys::new(peers.auth.clone());
        let redis = redis::connect(&config.redis)?;
        let revocations = RevocationList::new(peers.auth.clone(), redis.clone(), clock.clone());
        let tokens = TokenVerifier::new(keys.clone(), revocations.clone(), clock.clone());
        let (heartbeats, heartbeat_worker) =
            HeartbeatForwarder::new(peers.presence.clone(), clock.clone(), lifecycle.stopping());
        lifecycle.spawn(heartbeat_worker);
        let hub = SocketHub::new(
            peers.profile.clone(),
            peers.presence.clone(),
            &lifecycle,
            config.require_verified_listeners,
        );
        let slots = SocketConnectionSlots::new(redis.clone());
        let socket_tickets = SocketTickets::new(redis.clone(), clock.clone());
        let sockets = SocketService::new(
            tokens.clone(),
            hub.clone(),
            slots.clone(),
            peers.presence.clone(),
            peers.calls.clone(),
            peers.profile.clone(),
            heartbeats.clone(),
            nats,
            lifecycle.clone(),
            socket_tickets.clone(),
            clock.clone(),
            config.sockets,
        );
        Ok(Self(Arc::new(AppStateParts {
            auth: peers.auth,
            profile: peers.profile,
            presence: peers.presence,
            presence_health: peers.presence_health,
            wallet: peers.wallet,
            pending_ends: PendingCallEnds::start(peers.calls.clone(), &lifecycle),
            calls: peers.calls,
            verification: peers.verification,
            photos: peers.photos,
            data_exports: peers.data_exports,
            keys,
            revocations,
            tokens,
            heartbeats,
            hub,
            limits: RateLimiter::new(config.limits, redis),
            slots,
            sockets,
            socket_tickets,
            lifecycle,
            recent_login: RecentLoginRule::new(config.recent_login_secs, clock.clone()),
            clock,
            trusted_proxies: TrustedProxies::new(
                &config.http.trusted_proxies,
                config.http.trusted_hops,
            ),
            compatibility: config.compatibility,
            app_config,
        })))
    }

    /// Returns the keys that access tokens are verified with.
    pub fn keys(&self) -> &SigningKeys {
        &self.0.keys
    }

    /// Returns the revoked tokens.
    pub fn revocations(&self) -> &RevocationList {
        &self.0.revocations
    }

    /// Returns the center of the sockets.
    pub fn hub(&self) -> &SocketHub {
        &self.0.hub
    }

    /// Returns the connection slots of sockets.
    pub fn slots(&self) -> &SocketConnectionSlots {
        &self.0.slots
    }
}
