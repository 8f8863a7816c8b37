//! The traces of a process that exports none. Only their ids are of use then, in the log and for peers, so that the registry
//! keeps them beside the spans, and OpenTelemetry has nothing to do. A span that the filter of the log drops has no
//! ids, since no line would show them.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

/// The trace of a span and of the spans within it.
struct UnexportedTrace(Context);

/// Makes `span` part of the trace of its parent, or of a new one without a valid parent. Returns the id of the trace.
pub(super) fn begin(span: &Span, parent: Option<&Context>) -> TraceId {
    let ids = RandomIdGenerator::default();
    let received = parent.map(|parent| parent.span().span_context().trace_id());
    let received = received.filter(|id| *id != TraceId::INVALID);
    let trace_id = received.unwrap_or_else(|| ids.new_trace_id());
    let span_context = SpanContext::new(
        trace_id,
        ids.new_span_id(),
        TraceFlags::NOT_SAMPLED,
        false,
        TraceState::NONE,
    );
    let context = Context::new().with_remote_span_context(span_context);
    span.with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>()?;
        let span = registry.span(id)?;
        span.extensions_mut().replace(UnexportedTrace(context));
        Some(())
    });
    trace_id
}

/// Returns the trace of a span, which it may share with a span around it; `None` outside of traces.
pub(super) fn find(span: &Span) -> Option<Context> {
    let found = span.with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>()?;
        registry.span(id)?.scope().find_map(|span| {
            let extensions = span.extensions();
            let trace = extensions.get::<UnexportedTrace>();
            trace.map(|trace| trace.0.clone())
        })
    });
    found.flatten()
}
