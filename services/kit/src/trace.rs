//! W3C trace context over every carrier: HTTP headers, gRPC metadata, NATS headers and a text
//! column of the outbox. All of them carry the same string under the same name.

mod unexported;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Name of the header, metadata key and column (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// Returns the current span as a `traceparent`; `None` outside of traces.
pub fn current() -> Option<String> {
    of(&Span::current())
}

/// Returns the `traceparent` of one item of a batch: its own, or the current one if its own is empty.
pub fn named_or_current(traceparent: String) -> Option<String> {
    if traceparent.is_empty() {
        current()
    } else {
        Some(traceparent)
    }
}

/// Returns a span as a `traceparent`; `None` outside of traces.
pub fn of(span: &Span) -> Option<String> {
    let exported = span.context();
    let context = if exported.span().span_context().is_valid() {
        exported
    } else {
        unexported::find(span)?
    };
    let mut carrier = SentTraceparent(None);
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.0
}

/// Makes `span` a child of a received `traceparent`, and writes its trace id into the span's
/// `trace_id` field for the logs. A malformed or absent value starts a new trace.
pub fn adopt(span: &Span, traceparent: Option<&str>) {
    let parent = traceparent.map(parse_traceparent);
    if let Some(parent) = &parent {
        // This fails where nothing is exported, and for a span that a filter dropped; then there is nothing to connect.
        let _ = span.set_parent(parent.clone());
    }
    let context = span.context();
    let exported = context.span().span_context().trace_id();
    let trace_id = if exported == TraceId::INVALID {
        unexported::begin(span, parent.as_ref())
    } else {
        exported
    };
    span.record("trace_id", tracing::field::display(trace_id));
}

fn parse_traceparent(traceparent: &str) -> Context {
    // Nothing of the current context is of use: without a valid parent there is none.
    let none = Context::new();
    TraceContextPropagator::new().extract_with_context(&none, &ReceivedTraceparent(traceparent))
}

/// Keeps the `traceparent` of what a propagator writes. There is no `tracestate`.
struct SentTraceparent(Option<String>);

impl Injector for SentTraceparent {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

/// Lets a propagator read a `traceparent`.
struct ReceivedTraceparent<'a>(&'a str);

impl Extractor for ReceivedTraceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::prelude::*;

    use super::*;

    const RECEIVED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Runs `check` where traces are exported, and where they are not.
    fn with_tracing(check: impl Fn()) {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), &check);
        tracing::subscriber::with_default(tracing_subscriber::registry(), &check);
    }

    fn adopted_then_sent(received: &str) -> String {
        let span = tracing::info_span!("handler", trace_id = tracing::field::Empty);
        adopt(&span, Some(received));
        of(&span).expect("a span in a trace has a traceparent")
    }

    fn trace_id(traceparent: &str) -> &str {
        traceparent
            .split('-')
            .nth(1)
            .expect("version-trace-span-flags")
    }

    #[test]
    fn http_headers_and_grpc_metadata_carry_the_trace() {
        with_tracing(|| {
            let mut headers = http::HeaderMap::new();
            headers.insert(TRACEPARENT, RECEIVED.parse().expect("ascii"));
            let metadata = tonic::metadata::MetadataMap::from_headers(headers);
            let received = metadata
                .get(TRACEPARENT)
                .expect("set")
                .to_str()
                .expect("ascii");
            assert_eq!(trace_id(&adopted_then_sent(received)), trace_id(RECEIVED));
        });
    }

    #[test]
    fn nats_headers_carry_the_trace() {
        with_tracing(|| {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert(TRACEPARENT, RECEIVED);
            let received = headers.get(TRACEPARENT).expect("set").as_str();
            assert_eq!(trace_id(&adopted_then_sent(received)), trace_id(RECEIVED));
        });
    }

    #[test]
    fn a_span_within_another_belongs_to_its_trace() {
        with_tracing(|| {
            let handler = tracing::info_span!("handler", trace_id = tracing::field::Empty);
            adopt(&handler, Some(RECEIVED));
            let _handler = handler.enter();
            let _step = tracing::info_span!("step").entered();
            let sent = current().expect("a span in a trace has a traceparent");
            assert_eq!(trace_id(&sent), trace_id(RECEIVED));
        });
    }

    #[test]
    fn traces_differ_and_a_span_outside_of_them_has_none() {
        with_tracing(|| {
            let start_trace = || {
                let span = tracing::info_span!("handler", trace_id = tracing::field::Empty);
                adopt(&span, None);
                of(&span).expect("a span in a trace has a traceparent")
            };
            assert_ne!(trace_id(&start_trace()), trace_id(&start_trace()));
        });
        assert_eq!(of(&Span::none()), None);
    }

    #[test]
    fn a_malformed_traceparent_starts_a_new_trace() {
        with_tracing(|| {
            let sent = adopted_then_sent("not a traceparent");
            assert_ne!(trace_id(&sent), trace_id(RECEIVED));
            assert_eq!(sent.len(), RECEIVED.len());
        });
    }
}
