//! Every method of every service refuses every process that it does not declare as a caller. The cases are generated
//! from the declarations.

use std::collections::HashMap;

use futures::{StreamExt, stream};
use talktime_proto::access::METHOD_ACCESS;
use talktime_proto::access::v1::Workload;
use talktime_tests::connect_as;
use talktime_tests::rpc::{SERVERS, find_server, read_code, send_message};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Calls under way at once.
const CALLS_CONCURRENT: usize = 16;

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
        async move { (call, send_message(channel, call.path, None, &[]).await) }
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
            let channel = connect_as(call.caller, server);
            let status = send_message(channel, call.path, None, &[]).await;
            assert!(!is_refusal(&status), "{call:?}");
            assert_ne!(status.code(), Code::Unavailable, "{call:?}");
        }
    }
}

/// Lists every method of every server with every process; methods that each service has are listed for one of them.
fn list_calls() -> impl Iterator<Item = MethodCall> {
    METHOD_ACCESS.iter().flat_map(|method| {
        Workload::ALL.into_iter().map(move |caller| MethodCall {
            caller,
            server: find_server(method.path),
            path: method.path,
            is_declared: method.callers.contains(&caller),
        })
    })
}

fn open_channels() -> HashMap<(Workload, Workload), Channel> {
    let pairs = Workload::ALL
        .into_iter()
        .flat_map(|caller| SERVERS.map(|server| (caller, server)));
    pairs
        .map(|pair| (pair, connect_as(pair.0, pair.1)))
        .collect()
}

fn is_refusal(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && read_code(status) == "caller_not_allowed"
}
