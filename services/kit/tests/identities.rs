//! Connections between processes with identities: who gets one, who may call what, and how certificates are replaced.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use talktime_kit::Clock;
use talktime_kit::config::IdentityConfig;
use talktime_kit::grpc::UserGuard;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector};
use talktime_kit::grpc::server::{self, ServerParts};
use talktime_kit::identity::WorkloadIdentity;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::testing::{TestAuthority, replace_trust};
use talktime_kit::tokens::SigningKeys;
use talktime_proto::access::v1::Workload;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// How often the identities of these tests are read again.
const RELOAD_EVERY: Duration = Duration::from_millis(20);

fn load(config: &IdentityConfig) -> WorkloadIdentity {
    let loaded = WorkloadIdentity::load_every(RELOAD_EVERY, config, &ProcessLifecycle::default());
    loaded.expect("the files are valid")
}

/// Starts a wallet without methods of its own; every server answers health checks.
async fn serve_wallet(config: &IdentityConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listen = listener.local_addr().expect("bound");
    drop(listener);
    let parts = ServerParts {
        listen,
        identity: load(config),
        find_callers: |_path| &[],
        users: UserGuard::of_auth(SigningKeys::without_auth(), true, Clock::System),
        serves_reflection: false,
    };
    tokio::spawn(async move {
        let lifecycle = ProcessLifecycle::default();
        let served = server::serve(parts, Routes::default(), &[], &lifecycle);
        served.await.expect("serves");
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(listen).await.is_err() {
        assert!(Instant::now() < deadline, "the server does not listen");
    }
    listen
}

fn open_channel(address: SocketAddr, identity: &WorkloadIdentity, peer: Workload) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    let endpoint = endpoint.tls_config(identity.client_tls(peer));
    endpoint.expect("a valid certificate").connect_lazy()
}

/// Asks for the health of a server, and returns the code of the answer.
async fn check_health(channel: Channel) -> Code {
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest::default());
    match timeout(Duration::from_secs(10), answer)
        .await
        .expect("an answer in time")
    {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

/// Returns whether a code comes from the server, and not from a connection that failed.
fn is_answer(code: Code) -> bool {
    matches!(code, Code::Ok | Code::PermissionDenied)
}

#[tokio::test]
async fn processes_of_one_authority_reach_each_other() {
    let authority = TestAuthority::default();
    let wallet = serve_wallet(&authority.issue(Workload::Wallet)).await;
    let gateway = authority.identify(Workload::Gateway);
    let channel = open_channel(wallet, &gateway, Workload::Wallet);
    assert_eq!(check_health(channel).await, Code::Ok);
}

#[tokio::test]
async fn nobody_else_completes_a_handshake() {
    let authority = TestAuthority::default();
    let wallet = serve_wallet(&authority.issue(Workload::Wallet)).await;
    let forger = TestAuthority::default().identify(Workload::Gateway);
    let channel = open_channel(wallet, &forger, Workload::Wallet);
    assert!(!is_answer(check_health(channel).await), "another authority");

    let plain = Endpoint::from_shared(format!("http://{wallet}")).expect("an address");
    assert!(
        !is_answer(check_health(plain.connect_lazy()).await),
        "no TLS"
    );
}

#[tokio::test]
async fn a_client_leaves_a_process_that_is_not_the_one_it_wants() {
    let authority = TestAuthority::default();
    let wallet = serve_wallet(&authority.issue(Workload::Wallet)).await;
    let calls = authority.identify(Workload::Calls);
    let channel = open_channel(wallet, &calls, Workload::Presence);
    assert!(!is_answer(check_health(channel).await));
}

#[tokio::test]
async fn a_certificate_must_name_exactly_one_process() {
    let authority = TestAuthority::default();
    let wallet = serve_wallet(&authority.issue(Workload::Wallet)).await;
    let (gateway, calls) = (Workload::Gateway.spiffe_id(), Workload::Calls.spiffe_id());
    let cases = [
        ("nobody", vec![]),
        ("elsewhere", vec!["spiffe://elsewhere/gateway".to_owned()]),
        ("several", vec![gateway, calls]),
    ];
    for (name, uris) in cases {
        let identity = load(&authority.issue_named(name, "gateway.talktime.internal", &uris));
        let channel = open_channel(wallet, &identity, Workload::Wallet);
        assert_eq!(
            check_health(channel).await,
            Code::PermissionDenied,
            "{name}"
        );
    }
}

#[tokio::test]
async fn certificates_and_authorities_are_replaced_while_requests_run() {
    let (old, new) = (TestAuthority::default(), TestAuthority::default());
    let wallet_files = old.issue(Workload::Wallet);
    let gateway_files = old.issue(Workload::Gateway);
    let wallet = serve_wallet(&wallet_files).await;
    let peers = PeerConnector::new(load(&gateway_files));
    let channel = peers.connect(Workload::Wallet, &format!("https://{wallet}"));
    let channel = channel.expect("an address");
    // The first request may come before the first connection.
    wait_until(async || ask_health(&channel).await.is_ok()).await;
    let requests = tokio::spawn(send_requests(channel.clone()));

    for files in [&wallet_files, &gateway_files] {
        replace_trust(files, &[&old, &new]);
    }
    let probe_files = new.issue_named("probe", "gateway.talktime.internal", &[]);
    replace_trust(&probe_files, &[&old]);
    let probe = load(&probe_files);
    wait_until(async || has_handshake(wallet, &probe).await).await;

    new.replace_certificate(&wallet_files, Workload::Wallet);
    new.replace_certificate(&gateway_files, Workload::Gateway);
    let probe = new.identify(Workload::Gateway);
    wait_until(async || has_handshake(wallet, &probe).await).await;

    for files in [&wallet_files, &gateway_files] {
        replace_trust(files, &[&new]);
    }
    let probe_files = old.issue_named("late", "gateway.talktime.internal", &[]);
    replace_trust(&probe_files, &[&new]);
    let probe = load(&probe_files);
    wait_until(async || !has_handshake(wallet, &probe).await).await;
    requests.await.expect("all were answered");
}

/// Sends requests until certificates have been replaced for some time; panics if one is refused.
async fn send_requests(channel: PeerChannel) {
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        let answer = ask_health(&channel).await;
        answer.expect("no request is refused while certificates are replaced");
    }
}

async fn ask_health(channel: &PeerChannel) -> Result<(), Status> {
    let mut health = HealthClient::new(channel.clone());
    let answer = health.check(HealthCheckRequest::default()).await;
    answer.map(drop)
}

/// Returns whether a new connection is accepted, whatever its process may call.
async fn has_handshake(wallet: SocketAddr, identity: &WorkloadIdentity) -> bool {
    is_answer(check_health(open_channel(wallet, identity, Workload::Wallet)).await)
}

async fn wait_until(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "the state is not reached");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
