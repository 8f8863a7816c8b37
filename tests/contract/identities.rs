//! Every method of every service refuses every process that it does not declare as a caller. The cases are generated
//! from the declarations.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Request;
use http_body_util::Full;
use talktime_proto::access::METHOD_CALLERS;
use talktime_proto::access::v1::Workload;
use talktime_tests::connect_as;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// Calls under way at once.
const CALLS_CONCURRENT: usize = 16;
/// An empty message in the framing of gRPC.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// The services with a gRPC port.
const SERVERS: [Workload; 6] = [
    Workload::Auth,
    Workload::Profile,
    Workload::Presence,
    Workload::Wallet,
    Workload::Calls,
    Workload::Verification,
];

/// A method of a server, and a process that calls it.
#[derive(Clone, Copy, Debug)]
struct MethodCall {
    caller: Workload,
    server: Workload,
    path: &'static str,
    is_declared: bool,
}

#[tokio::test]
async fn every_method_refuses_every_process_that_it_does_not_declare() {
    let channels = open_channels();
    let forbidden = list_calls().filter(|call| !call.is_declared);
    let answers = stream::iter(forbidden).map(|call| {
        let channel = channels[&(call.caller, call.server)].clone();
        async move { (call, send_empty_message(channel, call.path).await) }
    });
    let answers: Vec<(MethodCall, Status)> =
        answers.buffer_unordered(CALLS_CONCURRENT).collect().await;
    assert!(answers.len() > 500, "{} calls", answers.len());
    for (call, status) in answers {
        assert!(is_refusal(&status), "{call:?} is answered with {status}");
    }
}

#[tokio::test]
async fn declared_callers_are_not_refused() {
    for server in SERVERS {
        // A method that refuses an empty message, or does nothing for it.
        let calls = list_calls().filter(|call| call.is_declared && call.server == server);
        for call in calls.filter(|call| call.path.contains("/Get")) {
            let status = send_empty_message(connect_as(call.caller, server), call.path).await;
            assert!(!is_refusal(&status), "{call:?}");
            assert_ne!(status.code(), Code::Unavailable, "{call:?}");
        }
    }
}

/// Lists every method of every server with every process; methods that each service has are listed for one of them.
fn list_calls() -> impl Iterator<Item = MethodCall> {
    METHOD_CALLERS.iter().flat_map(|(path, callers)| {
        Workload::ALL.into_iter().map(|caller| MethodCall {
            caller,
            server: find_server(path),
            path,
            is_declared: callers.contains(&caller),
        })
    })
}

/// Returns the server of a method: the package of `/talktime.wallet.v1.WalletService/GetBalance` names it.
fn find_server(path: &str) -> Workload {
    let package = path.trim_start_matches("/talktime.").split('.').next();
    let mut servers = SERVERS.into_iter();
    let server = servers.find(|server| Some(server.name()) == package);
    // The export of a user's data is served by all.
    server.unwrap_or(Workload::Wallet)
}

fn open_channels() -> HashMap<(Workload, Workload), Channel> {
    let pairs = Workload::ALL
        .into_iter()
        .flat_map(|caller| SERVERS.map(|server| (caller, server)));
    pairs
        .map(|pair| (pair, connect_as(pair.0, pair.1)))
        .collect()
}

/// Calls a method with an empty message, and returns the status of the answer.
async fn send_empty_message(channel: Channel, path: &str) -> Status {
    let message = Full::new(Bytes::from_static(EMPTY_MESSAGE));
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(message))
        .expect("a valid request");
    match channel.oneshot(request).await {
        Ok(response) => {
            Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok("accepted"))
        }
        Err(error) => Status::unavailable(error.to_string()),
    }
}

fn is_refusal(status: &Status) -> bool {
    let info = status.get_details_error_info();
    let code = info.map(|info| info.reason);
    status.code() == Code::PermissionDenied && code.as_deref() == Some("caller_not_allowed")
}
