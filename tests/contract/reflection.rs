//! Reflection lists every service and message to whoever connects, and is served in development only.

use futures::stream;
use talktime_proto::access::v1::Workload;
use talktime_tests::read_variable;
use talktime_tests::replica::start_wallet;
use talktime_tests::rpc::connect_to;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Asks a wallet for the names of its services.
async fn list_services(url: &str) -> Result<Vec<String>, Status> {
    let channel = connect_to(url, Workload::Gateway, Workload::Wallet);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(stream::iter([request])).await;
    let answer = answers?.into_inner().message().await?.expect("an answer");
    match answer.message_response.expect("a response") {
        MessageResponse::ListServicesResponse(listed) => Ok(listed
            .service
            .into_iter()
            .map(|service| service.name)
            .collect()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn reflection_is_served_in_development_only() {
    let listed = list_services(&read_variable("WALLET_GRPC_URL")).await;
    let listed = listed.expect("the stack is one of development");
    let wallet = "talktime.wallet.v1.WalletService".to_owned();
    assert!(listed.contains(&wallet), "{listed:?}");

    let staging = start_wallet(&[("TALKTIME_WALLET__ENVIRONMENT", "staging")]).await;
    let refused = list_services(&staging.url).await.expect_err("not served");
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
}
