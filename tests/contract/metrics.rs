//! Every process serves exactly the metrics that `deploy/observability/README.md` documents.

use std::collections::{BTreeMap, BTreeSet};

use talktime_tests::{CallPair, ExpectAnswer, read_variable, wait_for};

const DOCUMENT: &str = include_str!("../../deploy/observability/README.md");
const PROCESSES: [&str; 8] = [
    "AUTH",
    "PROFILE",
    "PRESENCE",
    "WALLET",
    "CALLS",
    "VERIFICATION",
    "GATEWAY",
    "RELAY_AGENT",
];
/// Labels of every metric, and those of the format of histograms.
const LABELS_OF_ALL: [&str; 3] = ["service", "le", "quantile"];
/// Prefix of the metrics of the operating system, which are documented together.
const OF_PROCESSES: &str = "process_";

/// Metrics by name, and the names of their labels.
type Metrics = BTreeMap<String, BTreeSet<String>>;

/// Returns the rows of the table with this heading.
fn read_documented(heading: &str) -> Metrics {
    let rows = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with(heading))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let code_spans = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let name = code_spans(cells[1]).remove(0);
        (name, code_spans(cells[2]).into_iter().collect())
    })
    .filter(|(name, _)| !name.starts_with(OF_PROCESSES))
    .collect()
}

async fn load_metrics() -> Metrics {
    let mut metrics = Metrics::new();
    for process in PROCESSES {
        let url = read_variable(&format!("{process}_OPS_URL")) + "/metrics";
        let page = reqwest::get(url).await.expect("it is up");
        read(&page.text().await.expect("text"), &mut metrics);
    }
    metrics
}

/// Parses a page in the text format of Prometheus. The series of a histogram have its name with a suffix.
fn read(page: &str, metrics: &mut Metrics) {
    let mut name = "";
    for line in page.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            name = declared.split_whitespace().next().expect("a name");
        } else if !line.starts_with('#')
            && line.starts_with(name)
            && !name.starts_with(OF_PROCESSES)
        {
            let labels = metrics.entry(name.to_owned()).or_default();
            labels.extend(labels_of(line));
        }
    }
}

/// Returns the label names of a line such as `name{a="1",b="2"} 3`.
fn labels_of(line: &str) -> Vec<String> {
    let inside = line
        .split_once('{')
        .and_then(|(_, rest)| rest.rsplit_once('}'));
    let parts = inside.map_or("", |(labels, _)| labels).split("=\"");
    parts
        .filter_map(|part| part.rsplit(['"', ',']).next())
        .filter(|name| !name.is_empty() && !LABELS_OF_ALL.contains(name))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_documented_metric_is_served_and_every_served_one_documented() {
    let pair = CallPair::sign_up().await;
    // One socket stays open, one is closed.
    let _socket = pair.app.open_socket("/ws/presence", &pair.listener).await;
    drop(pair.app.open_socket("/ws/presence", &pair.caller).await);
    let call_id = pair.start_call().await;
    wait_for("a second minute", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 20).then_some(())
    })
    .await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    let beat = pair.app.post("/users/me/heartbeat").as_user(&pair.listener);
    assert_eq!(beat.answer().await.status, 200);

    let mut documented = read_documented("| metric | labels |");
    assert!(documented.len() > 10, "{documented:?}");
    wait_for("every documented metric", || async {
        let served = load_metrics().await;
        let missing: Vec<&String> = documented
            .keys()
            .filter(|name| !served.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            println!("not served yet: {missing:?}");
        }
        missing.is_empty().then_some(())
    })
    .await;
    documented.extend(read_documented("| metric, once it happens |"));
    let served = load_metrics().await;
    for (name, labels) in &served {
        let Some(documented) = documented.get(name) else {
            panic!("{name} is not documented");
        };
        assert_eq!(labels, documented, "labels of {name}");
    }
}
