//! Section 1: rate limits.

use std::net::Ipv6Addr;

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiClient, UserRole, random_phone};
use talktime_tests::document::ApiDocument;
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, connect_app};

use crate::assert_problem;

/// The documented limit of the feed (section 5) in requests a minute.
const FEED_LIMIT: u64 = 100;

async fn load_feed(app: &ApiClient, token: &str) -> ApiAnswer {
    let request = app.get("/feed/listeners?per_page=1").bearer(token);
    request.answer().await
}

fn read_number(answer: &ApiAnswer, header: &str) -> u64 {
    let value = answer.header(header).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{header} of {answer:?}"))
}

#[tokio::test]
async fn the_feed_accepts_a_hundred_requests_a_minute_from_each_user() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for request_number in 1..=FEED_LIMIT {
        let answer = load_feed(&app, &person.access_token).await;
        assert_eq!(answer.status, 200, "request {request_number}: {answer:?}");
        assert_eq!(read_number(&answer, "ratelimit-limit"), FEED_LIMIT);
        assert_eq!(
            read_number(&answer, "ratelimit-remaining"),
            FEED_LIMIT - request_number
        );
        assert!((1..=60).contains(&read_number(&answer, "ratelimit-reset")));
    }
    let refused = load_feed(&app, &person.access_token).await;
    assert_problem(&refused, 429, "rate_limited");
    assert_eq!(read_number(&refused, "ratelimit-remaining"), 0);
    assert!((1..=60).contains(&read_number(&refused, "retry-after")));

    let other = app.sign_up(UserRole::User).await;
    let answer = load_feed(&app, &other.access_token).await;
    assert_eq!(answer.status, 200, "everybody has a count of their own");
    let elsewhere = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(elsewhere.status, 200, "the feed's limit is the feed's");
    assert_eq!(elsewhere.header("ratelimit-limit"), None);
}

#[tokio::test]
async fn a_burst_passes_no_more_than_the_limit() {
    let app = connect_app().await;
    for burst in [150, 400, 800] {
        let person = app.sign_up(UserRole::User).await;
        let answers = (0..burst).map(|_| load_feed(&app, &person.access_token));
        let answers = join_all(answers).await;
        let count = |status| {
            answers
                .iter()
                .filter(|answer| answer.status == status)
                .count() as u64
        };
        let (passed, refused) = (count(200), count(429));
        println!("{burst} at once: {passed} passed, {refused} refused");
        assert!(passed <= FEED_LIMIT, "{burst} at once: {passed} passed");
        // Requests that are refused for another reason, such as overload, do not count as passed.
        assert!(refused > 0, "{burst} at once: nobody was refused");
    }
}

#[tokio::test]
async fn each_gateway_counts_alone_without_redis() {
    let app = connect_app().await;
    // No server listens on this port.
    let nowhere = ("TALKTIME_GATEWAY__REDIS__URL", "redis://127.0.0.1:1");
    let gateway = start_gateway(&[nowhere]).await;
    let person = app.sign_up(UserRole::User).await;
    for request_number in 1..=FEED_LIMIT {
        let answer = load_feed(&gateway.app, &person.access_token).await;
        assert_eq!(answer.status, 200, "request {request_number}: {answer:?}");
        assert_eq!(
            read_number(&answer, "ratelimit-remaining"),
            FEED_LIMIT - request_number
        );
    }
    let refused = load_feed(&gateway.app, &person.access_token).await;
    assert_problem(&refused, 429, "rate_limited");
    let uncounted = gateway
        .read_metric("http_requests_uncounted_total", "feed")
        .await;
    assert!((uncounted - 100.0).abs() < f64::EPSILON, "{uncounted}");
}

#[tokio::test]
async fn requests_without_a_valid_token_are_refused_before_they_are_counted() {
    let app = connect_app().await;
    let answer = load_feed(&app, "nonsense").await;
    assert_problem(&answer, 401, "invalid_token");
    assert_eq!(answer.body["errors"], Value::Null);
}

#[tokio::test]
async fn a_client_with_an_ipv6_network_has_one_count_of_logins() {
    let gateway = start_gateway(&[
        ("TALKTIME_GATEWAY__LIMITS__AUTH", "2"),
        ("TALKTIME_GATEWAY__HTTP__TRUSTED_HOPS", "1"),
    ])
    .await;
    // A network that no other test has, and that belongs to nobody.
    let number: u128 = random_phone()[4..].parse().expect("nine digits");
    let network = (0x2001_0db8 << 96) | (number << 64);
    let log_in_from = async |bits: u128| {
        // The proxy appends the address to those that the client itself has written.
        let forwarded = format!("203.0.113.7, {}", Ipv6Addr::from_bits(bits));
        let request = gateway.app.post("/auth/refresh");
        let request = request.header("x-forwarded-for", &forwarded);
        let body = json!({"refresh_token": "none"});
        request.json(&body).answer().await
    };
    for host in 1..=2 {
        let answer = log_in_from(network | host).await;
        assert_problem(&answer, 401, "invalid_refresh_token");
    }
    let refused = log_in_from(network | 3).await;
    assert_problem(&refused, 429, "rate_limited");
    let neighbour = network ^ (1 << 64);
    let answer = log_in_from(neighbour).await;
    assert_problem(&answer, 401, "invalid_refresh_token");
}

/// Returns a distinct limit for each class, greater than the number of requests of this test.
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
    let gateway = start_gateway(&settings).await;
    let person = connect_app().await.sign_up(UserRole::User).await;
    for operation in ApiDocument::read(&gateway.app).await.list_operations() {
        let method = operation.method.parse().expect("a method");
        // Requests without a token have no effect, except in classes that count users.
        let request = gateway.app.request(method, &operation.fill_path("1"));
        let limit = &operation.content["x-rate-limit"];
        let request = match limit["counted_by"].as_str() {
            Some("user") => request.as_user(&person),
            _ => request,
        };
        let answer = request.answer().await;
        let expected = LIMITS.iter().find(|(class, _)| limit["class"] == *class);
        assert_eq!(
            answer.header("ratelimit-limit"),
            expected.map(|(_, requests)| *requests),
            "{}: {answer:?}",
            operation.name()
        );
    }
}
