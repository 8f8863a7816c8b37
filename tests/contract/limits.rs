//! Section 1: how often one may ask.

use serde_json::Value;
use talktime_client::{Answer, Role};
use talktime_tests::document::Document;
use talktime_tests::replica::second_gateway;
use talktime_tests::{Answered, TestApp, app};

use crate::assert_problem;

/// The feed's documented limit (section 5), requests a minute.
const FEED_LIMIT: u64 = 100;

async fn feed(app: &TestApp, token: &str) -> Answer {
    let ask = app.get("/feed/listeners?per_page=1").bearer(token);
    ask.answer().await
}

fn number(answer: &Answer, header: &str) -> u64 {
    let value = answer.header(header).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{header} of {answer:?}"))
}

#[tokio::test]
async fn the_feed_takes_a_hundred_requests_a_minute_of_each() {
    let app = app().await;
    let keen = app.sign_up(Role::User).await;
    for asked in 1..=FEED_LIMIT {
        let answer = feed(&app, &keen.access_token).await;
        assert_eq!(answer.status, 200, "request {asked}: {answer:?}");
        assert_eq!(number(&answer, "ratelimit-limit"), FEED_LIMIT);
        assert_eq!(number(&answer, "ratelimit-remaining"), FEED_LIMIT - asked);
        assert!((1..=60).contains(&number(&answer, "ratelimit-reset")));
    }
    let refused = feed(&app, &keen.access_token).await;
    assert_problem(&refused, 429, "rate_limited");
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    assert!((1..=60).contains(&number(&refused, "retry-after")));

    let other = app.sign_up(Role::User).await;
    let answer = feed(&app, &other.access_token).await;
    assert_eq!(answer.status, 200, "everybody has a count of their own");
    let elsewhere = app.get("/users/me").of(&keen).answer().await;
    assert_eq!(elsewhere.status, 200, "the feed's limit is the feed's");
    assert_eq!(elsewhere.header("ratelimit-limit"), None);
}

#[tokio::test]
async fn who_is_nobody_is_told_so_before_anything_is_counted_for_them() {
    let app = app().await;
    let answer = feed(&app, "nonsense").await;
    assert_problem(&answer, 401, "invalid_token");
    assert_eq!(answer.body["errors"], Value::Null);
}

/// A number for each class that none of the others has; more than this test asks.
const LIMITS: [(&str, &str); 6] = [
    ("auth", "1001"),
    ("feed", "1002"),
    ("money", "1003"),
    ("upload", "1004"),
    ("read", "1005"),
    ("write", "1006"),
];

#[tokio::test]
async fn every_endpoint_is_counted_in_the_class_that_the_document_names() {
    let settings = LIMITS.map(|(class, limit)| {
        let name = format!("TALKTIME_GATEWAY__LIMITS__{}", class.to_uppercase());
        (name, limit)
    });
    let settings = settings
        .each_ref()
        .map(|(name, limit)| (name.as_str(), *limit));
    let gateway = second_gateway(&settings).await;
    let person = app().await.sign_up(Role::User).await;
    for operation in Document::read(&gateway.app).await.operations() {
        let method = operation.method.parse().expect("a method");
        // Nobody asks, so that nothing is done, but where only people are counted.
        let ask = gateway.app.request(method, &operation.path_with("1"));
        let limit = &operation.content["x-rate-limit"];
        let ask = match limit["counted_by"].as_str() {
            Some("user") => ask.of(&person),
            _ => ask,
        };
        let answer = ask.answer().await;
        let expected = LIMITS.iter().find(|(class, _)| limit["class"] == *class);
        assert_eq!(
            answer.header("ratelimit-limit"),
            expected.map(|(_, requests)| *requests),
            "{}: {answer:?}",
            operation.name()
        );
    }
}
