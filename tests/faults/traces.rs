//! One trace shows a call from the gateway to the event that follows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use talktime_tests::picture::{self, TraceSpan};
use talktime_tests::{CallPair, ExpectAnswer, read_variable, wait_for};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::take_stack;

/// An OTLP endpoint that keeps what it gets, by trace id.
#[derive(Clone, Default)]
struct Sink {
    traces: Arc<Mutex<HashMap<String, Vec<TraceSpan>>>>,
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut traces = self.traces.lock().expect("nobody panics while holding it");
        for resource_spans in request.into_inner().resource_spans {
            let service = service_name(resource_spans.resource.unwrap_or_default().attributes);
            for span in resource_spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
            {
                traces
                    .entry(hex::encode(&span.trace_id))
                    .or_default()
                    .push(TraceSpan {
                        service: service.clone(),
                        name: span.name,
                        id: hex::encode(&span.span_id),
                        parent: hex::encode(&span.parent_span_id),
                        begins_ns: span.start_time_unix_nano,
                        ends_ns: span.end_time_unix_nano,
                    });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn service_name(attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> String {
    let named = attributes
        .into_iter()
        .find(|attribute| attribute.key == "service.name");
    match named
        .and_then(|attribute| attribute.value)
        .and_then(|value| value.value)
    {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    }
}

impl Sink {
    /// Listens where the test stack's services send their spans.
    async fn listen() -> Self {
        let sink = Self::default();
        let endpoint = read_variable("OTLP_ENDPOINT");
        let address = endpoint.trim_start_matches("http://");
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .expect("the port is free");
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(sink.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        sink
    }

    fn spans(&self, trace_id: &str) -> Vec<TraceSpan> {
        let traces = self.traces.lock().expect("nobody panics while holding it");
        traces.get(trace_id).cloned().unwrap_or_default()
    }
}

/// The trace as a person would read it.
fn print_tree(spans: &[TraceSpan], parent: &str, depth: usize) {
    for span in spans.iter().filter(|span| span.parent == parent) {
        println!(
            "{:indent$}{} {}",
            "",
            span.service,
            span.name,
            indent = 2 * depth
        );
        print_tree(spans, &span.id, depth + 1);
    }
}

/// Draws the trace where somebody asks for it: `docs/call-trace.svg` is made so, by
/// `TALKTIME_DRAW_TRACE=docs/call-trace.svg cargo dev test --test faults traces::`.
fn draw(spans: &[TraceSpan], root: &str) {
    let Some(path) = std::env::var_os("TALKTIME_DRAW_TRACE") else {
        return;
    };
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let svg = picture::draw("POST /calls/start, and the event that follows", root, spans);
    std::fs::write(std::path::Path::new(workspace).join(path), svg).expect("written");
}

#[tokio::test]
async fn one_trace_shows_a_start_from_the_gateway_to_the_event_that_follows() {
    let _stack = take_stack().await;
    let sink = Sink::listen().await;
    let pair = CallPair::sign_up().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let client_span = "00f067aa0ba902b7";
    let started = pair
        .app
        .post("/calls/start")
        .as_user(&pair.caller)
        .header("traceparent", &format!("00-{trace_id}-{client_span}-01"))
        .json(&serde_json::json!({"listener_id": pair.listener.user_id, "call_type": "audio"}))
        .answer()
        .await;
    assert_eq!(started.status, 200, "{started:?}");

    let wanted: BTreeMap<&str, &str> = BTreeMap::from([
        ("gateway", "POST /calls/start"),
        ("calls", "talktime.calls.v1.CallsService/StartCall"),
        ("profile", "talktime.profile.v1.ProfileService/CheckCalls"),
        ("wallet", "talktime.wallet.v1.WalletService/ChargeBatch"),
        ("presence", "events.calls.call_started"),
    ]);
    let spans = wait_for("the whole trace", || async {
        let spans = sink.spans(trace_id);
        let is_there = |service: &str, name: &str| {
            spans
                .iter()
                .any(|span| span.service == service && span.name == name)
        };
        wanted
            .iter()
            .all(|(service, name)| is_there(service, name))
            .then_some(spans)
    })
    .await;
    print_tree(&spans, client_span, 0);
    draw(&spans, client_span);
    let ended = pair
        .end_call(
            &pair.caller,
            started.body["call_id"].as_i64().expect("an id"),
        )
        .await;
    assert_eq!(ended.status, 200);
}
