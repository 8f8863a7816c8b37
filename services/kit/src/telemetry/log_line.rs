//! The form of log lines: an object of JSON each, with the fields of the event and a list of the spans around it.
//!
//! The formatter of the library keeps the fields of a span as an object in a text. It parses that object again, builds a
//! tree of it and writes it anew when a field is added, and once more for each line. Every request has a span whose trace is
//! added later, so that this was a large part of what a small request cost. Here a span keeps the members of its object
//! without the braces: a further field is appended, and a line contains a copy.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats the fields of a span as members of an object. A field is recorded once: a second value would be a second member.
#[derive(Debug)]
pub(super) struct SpanMembers;

/// Formats an event as a line.
#[derive(Debug)]
pub(super) struct JsonLine;

impl<'writer> FormatFields<'writer> for SpanMembers {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut members = MemberWriter::new(&mut writer, false);
        fields.record(&mut members);
        members.result
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let has_members = !current.fields.is_empty();
        let mut members = MemberWriter::new(&mut current.fields, has_members);
        fields.record(&mut members);
        members.result
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // A line that a library logs by the crate `log` has its module among its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        writer.write_char('"')?;
        let mut members = MemberWriter::new(&mut writer, true);
        members.write_text("level", format_args!("{}", metadata.level()));
        event.record(&mut members);
        members.write_text("target", format_args!("{}", metadata.target()));
        members.result?;
        write_spans(context, &mut writer)?;
        writer.write_str("}\n")
    }
}

/// Writes the spans around the event, the outermost first; nothing if there is none.
fn write_spans<S, N>(context: &FmtContext<'_, S, N>, writer: &mut Writer<'_>) -> fmt::Result
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    let Some(scope) = context.event_scope() else {
        return Ok(());
    };
    writer.write_str(",\"spans\":[")?;
    for (index, span) in scope.from_root().enumerate() {
        writer.write_str(if index == 0 { "{" } else { ",{" })?;
        let extensions = span.extensions();
        let formatted = extensions.get::<FormattedFields<N>>();
        let recorded = formatted.map_or("", |formatted| formatted.fields.as_str());
        writer.write_str(recorded)?;
        let mut members = MemberWriter::new(writer, !recorded.is_empty());
        members.write_text("name", format_args!("{}", span.name()));
        members.result?;
        writer.write_char('}')?;
    }
    writer.write_char(']')
}

/// Writes fields as members of an object. After an error it writes nothing more.
struct MemberWriter<'a, W> {
    writer: &'a mut W,
    /// Whether the next member needs a comma before it.
    has_members: bool,
    result: fmt::Result,
}

impl<'a, W: Write> MemberWriter<'a, W> {
    fn new(writer: &'a mut W, has_members: bool) -> Self {
        Self {
            writer,
            has_members,
            result: Ok(()),
        }
    }

    /// Writes a member whose value is a string.
    fn write_text(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.write_member(name, |writer| {
            writer.write_char('"')?;
            JsonStringWriter(&mut *writer).write_fmt(value)?;
            writer.write_char('"')
        });
    }

    /// Writes a member whose value is a number or a truth value.
    fn write_literal(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.write_member(name, |writer| writer.write_fmt(value));
    }

    fn write_member(&mut self, name: &str, write_value: impl FnOnce(&mut W) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self
                .write_name(name)
                .and_then(|()| write_value(self.writer));
        }
    }

    fn write_name(&mut self, name: &str) -> fmt::Result {
        if self.has_members {
            self.writer.write_char(',')?;
        }
        self.has_members = true;
        self.writer.write_char('"')?;
        // A name that is a keyword of Rust.
        let name = name.strip_prefix("r#").unwrap_or(name);
        JsonStringWriter(&mut *self.writer).write_str(name)?;
        self.writer.write_str("\":")
    }
}

impl<W: Write> Visit for MemberWriter<'_, W> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.write_literal(field.name(), format_args!("{value:?}"));
        } else {
            self.write_literal(field.name(), format_args!("null"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write_literal(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write_literal(field.name(), format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write_literal(field.name(), format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_text(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write_text(field.name(), format_args!("{value:?}"));
    }
}

/// Escapes what is written to it, for a string of JSON (RFC 8259, section 7).
struct JsonStringWriter<'a, W>(&'a mut W);

impl<W: Write> Write for JsonStringWriter<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(index) = rest.find(must_be_escaped) {
            // All of these are characters of one byte.
            let (plain, escaped) = rest.split_at(index);
            let (escaped, after) = escaped.split_at(1);
            self.0.write_str(plain)?;
            self.write_escaped(escaped)?;
            rest = after;
        }
        self.0.write_str(rest)
    }
}

impl<W: Write> JsonStringWriter<'_, W> {
    fn write_escaped(&mut self, character: &str) -> fmt::Result {
        match character {
            "\"" => self.0.write_str("\\\""),
            "\\" => self.0.write_str("\\\\"),
            "\n" => self.0.write_str("\\n"),
            "\r" => self.0.write_str("\\r"),
            "\t" => self.0.write_str("\\t"),
            other => other
                .bytes()
                .try_for_each(|byte| write!(self.0, "\\u{byte:04x}")),
        }
    }
}

fn must_be_escaped(character: char) -> bool {
    character < ' ' || character == '"' || character == '\\'
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::prelude::*;

    use super::*;

    /// Collects what is written to its clones.
    #[derive(Clone, Default)]
    struct CollectedLog(Arc<Mutex<Vec<u8>>>);

    impl io::Write for CollectedLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that `work` logs, without their timestamps.
    fn log(work: impl FnOnce()) -> Vec<Value> {
        let collected = CollectedLog::default();
        let writer = collected.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(SpanMembers)
            .event_format(JsonLine)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = collected.0.lock().expect("not poisoned").clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let timestamp = line["timestamp"].take();
            let timestamp = timestamp.as_str().expect("a timestamp");
            assert!(chrono::DateTime::parse_from_rfc3339(timestamp).is_ok());
            line
        });
        lines.collect()
    }

    #[test]
    fn a_line_has_the_fields_of_the_event_and_of_its_spans() {
        let lines = log(|| {
            let outer = tracing::info_span!(
                "http",
                otel.name = "GET /users",
                attempt = 2,
                trace_id = tracing::field::Empty,
            );
            outer.record("trace_id", tracing::field::display("0af7"));
            let _outer = outer.enter();
            let _inner = tracing::info_span!("inner").entered();
            tracing::info!(status = 200, ratio = 0.5, is_late = false, "request");
        });
        let expected = json!({
            "timestamp": null, "level": "INFO", "message": "request", "status": 200, "ratio": 0.5, "is_late": false,
            "target": module_path!(),
            "spans": [
                {"otel.name": "GET /users", "attempt": 2, "trace_id": "0af7", "name": "http"},
                {"name": "inner"},
            ],
        });
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn the_first_field_of_a_span_may_come_later() {
        let lines = log(|| {
            let span = tracing::info_span!("late", trace_id = tracing::field::Empty);
            span.record("trace_id", "0af7");
            span.in_scope(|| tracing::warn!("inside"));
        });
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(
            lines[0]["spans"],
            json!([{"trace_id": "0af7", "name": "late"}])
        );
    }

    #[test]
    fn a_line_outside_of_spans_has_no_list_of_them() {
        let lines = log(|| tracing::error!(r#loop = "relay", ratio = f64::NAN, "stuck"));
        assert_eq!(lines[0].get("spans"), None);
        assert_eq!(lines[0]["loop"], "relay");
        assert_eq!(lines[0]["ratio"], Value::Null);
    }

    #[test]
    fn texts_of_any_characters_stay_one_line() {
        let text = "\"quoted\" back\\slash\nnew\r\ttab \u{1} शिकायत \u{1f600}";
        let lines = log(|| {
            let _span = tracing::info_span!("span", text).entered();
            tracing::info!(text, debug = ?text, "{text}");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["text"], text);
        assert_eq!(lines[0]["message"], text);
        assert_eq!(lines[0]["debug"], format!("{text:?}"));
        assert_eq!(lines[0]["spans"][0]["text"], text);
    }
}
