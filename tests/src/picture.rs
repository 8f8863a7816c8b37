//! Draws a trace: a bar for each span, below its parent.

use std::fmt::Write as _;

/// A span of a trace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceSpan {
    /// Process of the span.
    pub service: String,
    /// Name of the operation.
    pub name: String,
    /// Id in hexadecimal.
    pub id: String,
    /// Id of the parent span.
    pub parent: String,
    /// Beginning in nanoseconds.
    pub begins_ns: u64,
    /// End in nanoseconds.
    pub ends_ns: u64,
}

const WIDTH: u32 = 1_100;
const LABELS_WIDTH: u32 = 430;
const ROW_HEIGHT: u32 = 24;
const TOP: u32 = 56;
const INDENT: u32 = 14;
/// Least width of a visible bar.
const BAR_WIDTH_MIN: f64 = 2.0;
const COLOURS: [&str; 7] = [
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2",
];

/// Draws the spans below `root`, which is not drawn itself, as SVG.
pub fn draw_trace(title: &str, root: &str, spans: &[TraceSpan]) -> String {
    let rows = order_rows(root, spans, 0);
    let times = rows.iter().map(|(span, _)| (span.begins_ns, span.ends_ns));
    let begins_ns = times.clone().map(|(begins, _)| begins).min().unwrap_or(0);
    let ends_ns = times.map(|(_, ends)| ends).max().unwrap_or(1);
    let scale = f64::from(WIDTH - LABELS_WIDTH - 70) / to_millis(ends_ns - begins_ns).max(0.001);
    let mut services: Vec<&str> = rows.iter().map(|(span, _)| span.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();

    let height = TOP + ROW_HEIGHT * u32::try_from(rows.len()).unwrap_or(0) + 12;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"26\" font-size=\"16\">{}</text>\n",
        escape_xml(title)
    );
    for (row, (span, depth)) in rows.iter().enumerate() {
        let y = TOP + ROW_HEIGHT * u32::try_from(row).unwrap_or(0);
        let from = to_millis(span.begins_ns - begins_ns);
        let took = to_millis(span.ends_ns.saturating_sub(span.begins_ns));
        let x = f64::from(LABELS_WIDTH) + from * scale;
        let width = (took * scale).max(BAR_WIDTH_MIN);
        let service = services.iter().position(|name| *name == span.service);
        let colour = COLOURS[service.unwrap_or_default() % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\"><tspan fill=\"{colour}\" font-weight=\"bold\">{}</tspan> {}</text>\n\
             <rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"14\" rx=\"2\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#555555\">{took:.1} ms</text>",
            12 + depth * INDENT,
            y + 12,
            escape_xml(&span.service),
            escape_xml(shorten_name(&span.name)),
            y + 1,
            x + width + 4.0,
            y + 12,
        );
    }
    svg + "</svg>\n"
}

/// Returns each span after its parent, and the children of a span in the order of their beginning.
fn order_rows<'a>(parent: &str, spans: &'a [TraceSpan], depth: u32) -> Vec<(&'a TraceSpan, u32)> {
    let mut children: Vec<&TraceSpan> = spans.iter().filter(|span| span.parent == parent).collect();
    children.sort_by_key(|span| span.begins_ns);
    let with_children = |span: &'a TraceSpan| {
        let mut rows = vec![(span, depth)];
        rows.extend(order_rows(&span.id, spans, depth + 1));
        rows
    };
    children.into_iter().flat_map(with_children).collect()
}

/// Shortens `talktime.calls.v1.CallsService/StartCall` to `CallsService/StartCall`.
fn shorten_name(name: &str) -> &str {
    match name.split_once(".v1.") {
        Some((package, method)) if package.starts_with("talktime.") => method,
        _ => name,
    }
}

fn to_millis(nanos: u64) -> f64 {
    // The microseconds of any request fit into 32 bits.
    f64::from(u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)) / 1_000.0
}

fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, id: &str, parent: &str, begins_ms: u64, ends_ms: u64) -> TraceSpan {
        TraceSpan {
            service: "calls".to_owned(),
            name: name.to_owned(),
            id: id.to_owned(),
            parent: parent.to_owned(),
            begins_ns: begins_ms * 1_000_000,
            ends_ns: ends_ms * 1_000_000,
        }
    }

    #[test]
    fn spans_are_drawn_below_their_parents_in_the_order_of_time() {
        let spans = [
            span("late", "3", "1", 30, 40),
            span("talktime.calls.v1.CallsService/StartCall", "1", "0", 10, 50),
            span("early", "2", "1", 20, 25),
            span("of another trace", "9", "8", 1, 2),
        ];
        let names: Vec<&str> = order_rows("0", &spans, 0)
            .into_iter()
            .map(|(span, _)| shorten_name(&span.name))
            .collect();
        assert_eq!(names, ["CallsService/StartCall", "early", "late"]);
        let svg = draw_trace("A <start>", "0", &spans);
        assert!(
            svg.contains("A &lt;start&gt;") && svg.contains("40.0 ms"),
            "{svg}"
        );
        assert!(!svg.contains("another trace"), "{svg}");
    }
}
