//! Any method of any service, called with an encoded message, for tests that are generated from the contracts.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use talktime_kit::grpc::USER_TOKEN;
use talktime_kit::testing::stack_identity;
use talktime_proto::access::v1::Workload;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// The services with a gRPC port.
pub const SERVERS: [Workload; 6] = [
    Workload::Auth,
    Workload::Profile,
    Workload::Presence,
    Workload::Wallet,
    Workload::Calls,
    Workload::Verification,
];

/// Returns the server of a method: the package of `/talktime.wallet.v1.WalletService/GetBalance` names it.
pub fn find_server(path: &str) -> Workload {
    let package = path.trim_start_matches("/talktime.").split('.').next();
    let mut servers = SERVERS.into_iter();
    let server = servers.find(|server| Some(server.name()) == package);
    // The export of a user's data is served by all.
    server.unwrap_or(Workload::Wallet)
}

/// Returns a channel to a replica of a service, as another process would open it. It connects when it is first used.
pub fn connect_to(url: &str, caller: Workload, peer: Workload) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("an address");
    let endpoint = endpoint.tls_config(stack_identity(caller).client_tls(peer));
    endpoint.expect("a valid certificate").connect_lazy()
}

/// Calls a method with an encoded message, and the access token of a user if there is one; returns the status of the
/// answer.
pub async fn send_message(
    channel: Channel,
    path: &str,
    user_token: Option<&str>,
    message: &[u8],
) -> Status {
    let length = u32::try_from(message.len()).expect("a short message");
    let framed = [&[0], length.to_be_bytes().as_slice(), message].concat();
    let mut request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = user_token {
        request = request.header(USER_TOKEN, token);
    }
    let request = request.body(Body::new(Full::new(Bytes::from(framed))));
    match channel.oneshot(request.expect("a valid request")).await {
        Ok(response) => {
            Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok("accepted"))
        }
        Err(error) => Status::unavailable(error.to_string()),
    }
}

/// Returns the code of a refusal; empty for an answer without one.
pub fn read_code(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}
