//! Runs the examples of `docs/app` as they are: a request, and the answer that the page shows.
//!
//! `{{name}}` in a request is a known value. In an answer it stores a value, or must equal the stored one. `…` stands
//! for any value, and answers may contain more than the page shows.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use talktime_client::{ApiAnswer, AppSocket, UserRole, random_phone, random_username};
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX, connect_app};

use crate::repository;

const ANYTHING: &str = "…";
/// Time limit on a busy machine for what the pages describe as "within a second".
const MOMENT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// A fenced code block of a page.
struct DocSnippet {
    language: String,
    line: usize,
    text: String,
}

/// A page with the values that its examples have stored so far.
struct DocPage {
    app: TestApp,
    values: HashMap<String, Value>,
}

fn parse_snippets(page: &str) -> Vec<DocSnippet> {
    let mut found = Vec::new();
    let mut open: Option<DocSnippet> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(DocSnippet {
                    language: language.to_owned(),
                    line: index + 1,
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(snippet), None) => {
                snippet.text.push_str(line);
                snippet.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

impl DocPage {
    /// Prepares a caller, a listener, and an unused phone number.
    async fn open() -> Self {
        let app = connect_app().await;
        let caller = app.sign_up(UserRole::User).await;
        let listener = app.sign_up(UserRole::Listener).await;
        let values = [
            ("phone", random_phone().into()),
            ("username", random_username("asha").into()),
            ("new_key", random_username("key").into()),
            ("caller_token", caller.access_token.into()),
            ("listener_token", listener.access_token.into()),
            ("listener_id", listener.user_id.into()),
            ("listener_username", listener.username.into()),
        ];
        let named = values.map(|(name, value): (&str, Value)| (name.to_owned(), value));
        Self {
            app,
            values: HashMap::from(named),
        }
    }

    /// Replaces all names in a text by their values.
    async fn fill_values(&mut self, text: &str) -> String {
        if text.contains("{{otp}}") {
            let phone = self.values["phone"].as_str().expect("a phone").to_owned();
            let otp = self.app.read_otp(&phone).await;
            self.values.insert("otp".to_owned(), otp.into());
        }
        let mut filled = text.to_owned();
        for (name, value) in &self.values {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            filled = filled.replace(&format!("{{{{{name}}}}}"), &text);
        }
        assert!(!filled.contains("{{"), "a value is missing: {filled}");
        filled
    }

    async fn send_request(&mut self, request: &str) -> ApiAnswer {
        let request = self.fill_values(request).await;
        let (head, body) = request
            .split_once("\n\n")
            .unwrap_or((request.trim_end(), ""));
        let mut lines = head.lines();
        let (method, path) = first_line(lines.next());
        let mut builder = self.app.request(method.parse().expect("a method"), path);
        for line in lines {
            let (name, value) = header(line);
            builder = match name.as_str() {
                "content-type" => builder.body(value, body.trim().to_owned()),
                _ => builder.header(&name, value),
            };
        }
        builder.answer().await
    }

    /// Sends a request and compares the answer. Some effects take a moment, so a read is repeated until its answer
    /// matches.
    async fn run_socket_lines(&mut self, request: &str, promised: &str) -> Result<(), String> {
        let deadline = Instant::now() + MOMENT;
        loop {
            let answer = self.send_request(request).await;
            let checked = self.check(&answer, promised);
            let is_read = request.starts_with("GET ");
            if checked.is_ok() || !is_read || Instant::now() > deadline {
                return checked.map_err(|problem| format!("{problem}, and got {answer:?}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn check(&mut self, answer: &ApiAnswer, documented: &str) -> Result<(), String> {
        let (head, body) = documented.split_once("\n\n").unwrap_or((documented, ""));
        let mut lines = head.lines();
        let (_, status) = first_line(lines.next());
        if status.split(' ').next() != Some(answer.status.to_string().as_str()) {
            return Err(format!("promised {status}"));
        }
        for line in lines {
            let (name, value) = header(line);
            let sent = answer.header(&name).unwrap_or_default();
            if sent.is_empty() || (value != ANYTHING && value != sent) {
                return Err(format!("promised {name}: {value}"));
            }
        }
        let documented = serde_json::from_str(body).map_err(|error| error.to_string())?;
        self.compare(&documented, &answer.body, "the body")
    }

    fn compare(&mut self, promised: &Value, sent: &Value, place: &str) -> Result<(), String> {
        match (promised, sent) {
            (Value::String(text), _) if text == ANYTHING => Ok(()),
            (Value::String(text), _) if text.starts_with("{{") => {
                let name = text.trim_matches(['{', '}']).to_owned();
                let kept = self.values.entry(name).or_insert_with(|| sent.clone());
                (kept == sent)
                    .then_some(())
                    .ok_or(format!("{place}: {kept} before"))
            }
            (Value::Object(promised), Value::Object(sent)) => {
                for (name, value) in promised {
                    let sent = sent.get(name).ok_or(format!("{place} has no {name}"))?;
                    self.compare(value, sent, name)?;
                }
                Ok(())
            }
            _ if promised == sent => Ok(()),
            _ => Err(format!("{place}: promised {promised}")),
        }
    }

    /// Executes the lines of a socket example: `<` is a message of the gateway, before which others are skipped, `>` is
    /// a message of the client, and `x` is the code with which the gateway closes.
    async fn run_snippet(&mut self, conversation: &str) {
        let conversation = self.fill_values(conversation).await;
        let (head, messages) = conversation.split_once("\n\n").expect("messages");
        let mut lines = head.lines();
        let (_, path) = first_line(lines.next());
        let (_, token) = header(lines.next().expect("a token"));
        let token = token.strip_prefix("Bearer ");
        let opened = AppSocket::open(self.app.gateway_url(), path, token).await;
        let mut socket = opened.expect("the socket opens");
        for line in messages.lines().filter(|line| !line.is_empty()) {
            let (direction, message) = line.split_once(' ').expect("a direction");
            match direction {
                "<" => {
                    let documented: Value = serde_json::from_str(message).expect("JSON");
                    let received = socket.receive_matching(message, WAIT_MAX, |received| {
                        received["type"] == documented["type"]
                    });
                    let received = received.await.expect("the message arrives");
                    let compared = self.compare(&documented, &received, "the message");
                    compared.unwrap_or_else(|problem| panic!("{line}: {problem} in {received}"));
                }
                ">" => {
                    let message = serde_json::from_str(message).expect("JSON");
                    socket.send(&message).await.expect("sent");
                }
                "x" => {
                    let closed = socket.wait_until_closed(WAIT_MAX).await.expect("it closes");
                    assert_eq!(closed.code.to_string(), message);
                }
                other => panic!("{other} is no direction"),
            }
        }
    }
}

/// Splits a line like `GET /path` or `HTTP/1.1 200 OK` at its first space.
fn first_line(line: Option<&str>) -> (&str, &str) {
    let line = line.expect("a first line");
    line.split_once(' ').unwrap_or_else(|| panic!("{line}"))
}

fn header(line: &str) -> (String, &str) {
    let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
    (name.to_ascii_lowercase(), value)
}

async fn run(file: &str) {
    let path = repository().join("docs/app").join(file);
    let text = fs::read_to_string(path).expect("the page");
    let mut page = DocPage::open().await;
    let mut request: Option<String> = None;
    let mut count = 0;
    for snippet in parse_snippets(&text) {
        let place = format!("docs/app/{file}:{}", snippet.line);
        count += 1;
        match snippet.language.as_str() {
            "http" if snippet.text.starts_with("HTTP/") => {
                let request = request
                    .take()
                    .unwrap_or_else(|| panic!("{place}: to what?"));
                let checked = page.run_socket_lines(&request, &snippet.text).await;
                checked.unwrap_or_else(|problem| panic!("{place}: {problem}"));
            }
            "http" => request = Some(snippet.text),
            "websocket" => page.run_snippet(&snippet.text).await,
            // A diagram.
            "mermaid" => {}
            language => panic!("{place}: nobody runs {language}"),
        }
    }
    assert!(count > 0, "{file} has no example");
}

#[tokio::test]
async fn the_page_about_the_configuration_of_the_app() {
    run("config.md").await;
}

#[tokio::test]
async fn the_page_about_logging_in() {
    run("login.md").await;
}

#[tokio::test]
async fn the_page_about_finding_a_listener() {
    run("finding.md").await;
}

#[tokio::test]
async fn the_page_about_calls() {
    run("calls.md").await;
}

#[tokio::test]
async fn the_page_about_calls_that_ring() {
    run("ringing.md").await;
}

#[tokio::test]
async fn the_page_about_media_of_the_platform() {
    run("media.md").await;
}

#[tokio::test]
async fn the_page_about_taking_calls() {
    run("listeners.md").await;
}

#[tokio::test]
async fn the_page_about_sockets() {
    run("sockets.md").await;
}

#[tokio::test]
async fn the_page_about_errors() {
    run("errors.md").await;
}

#[tokio::test]
async fn the_page_about_photos() {
    run("photos.md").await;
}

#[tokio::test]
async fn the_page_about_earnings() {
    run("earnings.md").await;
}

#[tokio::test]
async fn the_page_about_exports() {
    run("export.md").await;
}

#[test]
fn every_page_has_a_test() {
    let run = [
        "config.md",
        "login.md",
        "finding.md",
        "calls.md",
        "ringing.md",
        "media.md",
        "listeners.md",
        "sockets.md",
        "errors.md",
        "migrating.md",
        "photos.md",
        "earnings.md",
        "export.md",
        "README.md",
    ];
    let pages = fs::read_dir(repository().join("docs/app")).expect("the folder");
    for page in pages {
        let name = page.expect("a page").file_name();
        let name = name.to_string_lossy().into_owned();
        assert!(
            run.contains(&name.as_str()),
            "docs/app/{name} is run by no test"
        );
    }
}

#[tokio::test]
async fn the_page_about_moving_an_existing_app() {
    run("migrating.md").await;
}
