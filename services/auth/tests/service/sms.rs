//! One-time passwords as text messages, to a stand-in that speaks the provider's API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use talktime_auth::delivery::{
    OtpDelivery, OtpDeliveryAdapter, OtpDeliveryFailure, OtpMessage, SmsProviderConfig,
};
use talktime_auth::domain::OneTimePassword;
use talktime_kit::config::DeploymentEnvironment;
use tokio::net::TcpListener;

use crate::support::phone;

/// A request that the provider received.
#[derive(Clone, Debug)]
struct ReceivedRequest {
    account_sid: String,
    authorization: String,
    form: HashMap<String, String>,
}

/// The provider's reaction to the next requests; afterwards it accepts every message.
#[derive(Clone, Copy)]
enum ProviderReaction {
    Answers(u16),
    /// Never answers.
    Hangs,
}

#[derive(Clone, Default)]
struct SmsProvider {
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    /// The next reaction is the last element.
    reactions: Arc<Mutex<Vec<ProviderReaction>>>,
}

impl SmsProvider {
    /// Starts a provider with these first reactions; returns its address as well.
    async fn start(first: &[ProviderReaction]) -> (Self, String) {
        let provider = Self::default();
        provider.set_reactions(first);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route(
                "/v1/Accounts/{account_sid}/Sms/send.json",
                post(receive_sms),
            )
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (provider, url)
    }

    fn set_reactions(&self, first: &[ProviderReaction]) {
        *self.reactions.lock().expect("not poisoned") = first.iter().rev().copied().collect();
    }

    fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().expect("not poisoned").clone()
    }
}

async fn receive_sms(
    State(provider): State<SmsProvider>,
    Path(account_sid): Path<String>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    let form = url::form_urlencoded::parse(body.as_bytes());
    provider
        .received
        .lock()
        .expect("not poisoned")
        .push(ReceivedRequest {
            account_sid,
            authorization: headers["authorization"].to_str().expect("text").to_owned(),
            form: form.into_owned().collect(),
        });
    let reaction = provider.reactions.lock().expect("not poisoned").pop();
    match reaction.unwrap_or(ProviderReaction::Answers(200)) {
        ProviderReaction::Answers(status @ 200..=299) => (
            StatusCode::from_u16(status).expect("a status"),
            r#"{"SMSMessage": {"Sid": "s1", "Status": "queued"}}"#,
        ),
        ProviderReaction::Answers(status) => (
            StatusCode::from_u16(status).expect("a status"),
            r#"{"RestException": {"Status": 0, "Message": "No"}}"#,
        ),
        ProviderReaction::Hangs => std::future::pending().await,
    }
}

pub(crate) fn config(url: &str) -> SmsProviderConfig {
    SmsProviderConfig {
        url: url.to_owned(),
        account_sid: "talktime1".to_owned(),
        api_key: "key".into(),
        api_token: "token".into(),
        sender_id: "TLKTIM".to_owned(),
        entity_id: "1101456789012345678".to_owned(),
        template_id: "1107161234567890123".to_owned(),
        text: "{otp} is your Talktime code & nobody else's.".to_owned(),
        app_hash: None,
        timeout_ms: 300,
        attempts_max: 2,
        failures_max: 3,
        pause_secs: 1,
    }
}

fn delivery(config: SmsProviderConfig) -> OtpDelivery {
    OtpDelivery::new(
        OtpDeliveryAdapter::Sms,
        Some(config),
        DeploymentEnvironment::Development,
    )
    .expect("allowed")
}

fn message() -> OtpMessage {
    OtpMessage {
        phone: phone(),
        otp: OneTimePassword::from_stored("012345".to_owned()),
    }
}

#[tokio::test]
async fn a_message_has_the_fields_that_operators_require() {
    let (provider, url) = SmsProvider::start(&[]).await;
    let message = message();
    delivery(config(&url))
        .deliver(&message)
        .await
        .expect("sent");

    let requests = provider.received();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(request.account_sid, "talktime1");
    assert_eq!(request.authorization, "Basic a2V5OnRva2Vu", "key:token");
    let expected = [
        ("From", "TLKTIM"),
        ("To", message.phone.as_str()),
        ("Body", "012345 is your Talktime code & nobody else's."),
        ("DltEntityId", "1101456789012345678"),
        ("DltTemplateId", "1107161234567890123"),
        ("SmsType", "transactional"),
        ("Priority", "high"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(request.form, HashMap::from(expected));
}

#[tokio::test]
async fn an_app_hash_is_the_last_line_of_the_message() {
    let (provider, url) = SmsProvider::start(&[]).await;
    let mut config = config(&url);
    config.app_hash = Some("FA+9qCX9VSu".to_owned());
    delivery(config).deliver(&message()).await.expect("sent");
    let requests = provider.received();
    assert_eq!(
        requests[0].form["Body"],
        "012345 is your Talktime code & nobody else's.\nFA+9qCX9VSu"
    );
}

#[tokio::test]
async fn a_transient_failure_is_retried() {
    for failure in [
        ProviderReaction::Answers(500),
        ProviderReaction::Answers(503),
        ProviderReaction::Answers(429),
        ProviderReaction::Hangs,
    ] {
        let (provider, url) = SmsProvider::start(&[failure]).await;
        delivery(config(&url))
            .deliver(&message())
            .await
            .expect("sent");
        assert_eq!(provider.received().len(), 2);
    }
}

#[tokio::test]
async fn a_failure_tells_whether_the_message_may_have_been_sent() {
    for (first, outcome, requests) in [
        (
            [
                ProviderReaction::Answers(400),
                ProviderReaction::Answers(200),
            ],
            OtpDeliveryFailure::Refused,
            1,
        ),
        (
            [
                ProviderReaction::Answers(401),
                ProviderReaction::Answers(401),
            ],
            OtpDeliveryFailure::NotSent,
            2,
        ),
        (
            [
                ProviderReaction::Answers(500),
                ProviderReaction::Answers(429),
            ],
            OtpDeliveryFailure::Unknown,
            2,
        ),
        (
            [ProviderReaction::Hangs, ProviderReaction::Hangs],
            OtpDeliveryFailure::Unknown,
            2,
        ),
    ] {
        let (provider, url) = SmsProvider::start(&first).await;
        let delivered = delivery(config(&url)).deliver(&message()).await;
        assert_eq!(delivered, Err(outcome));
        assert_eq!(provider.received().len(), requests);
    }
    let nowhere = delivery(config("http://127.0.0.1:1"));
    let delivered = nowhere.deliver(&message()).await;
    assert_eq!(delivered, Err(OtpDeliveryFailure::NotSent));
}

#[tokio::test]
async fn a_failing_provider_gets_no_request_until_the_pause_is_over() {
    let (provider, url) = SmsProvider::start(&[ProviderReaction::Answers(503); 6]).await;
    let delivery = delivery(config(&url));
    for _ in 0..3 {
        assert!(delivery.check_open().is_ok());
        assert!(delivery.deliver(&message()).await.is_err());
    }
    assert_eq!(
        provider.received().len(),
        6,
        "three messages, two tries each"
    );
    assert_eq!(delivery.check_open(), Err(OtpDeliveryFailure::NotSent));
    assert_eq!(
        delivery.deliver(&message()).await,
        Err(OtpDeliveryFailure::NotSent)
    );
    assert_eq!(provider.received().len(), 6, "no request was sent");

    let is_back = async {
        while delivery.deliver(&message()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), is_back).await;
    waited.expect("one tries after the pause, and the rest follow");
    assert!(delivery.check_open().is_ok());
    assert_eq!(provider.received().len(), 7);
}

#[test]
fn invalid_settings_of_text_messages_are_refused() {
    type Spoil = fn(&mut SmsProviderConfig);
    let cases: [(&str, Spoil); 8] = [
        ("SMS__URL", |config| {
            config.url = "http://example.com".to_owned();
        }),
        ("SMS__TEXT", |config| config.text = "Your code".to_owned()),
        ("SMS__APP_HASH", |config| {
            config.app_hash = Some(String::new());
        }),
        ("SMS__APP_HASH", |config| {
            config.app_hash = Some("FA+9qCX9VSu=".to_owned());
        }),
        ("SMS__APP_HASH", |config| {
            config.app_hash = Some("FA 9qCX9VSu".to_owned());
        }),
        ("SMS__TEXT", |config| {
            config.text = format!("{{otp}} is your code.{}", " ".repeat(120));
            config.app_hash = Some("FA+9qCX9VSu".to_owned());
        }),
        ("SMS__TIMEOUT_MS", |config| config.timeout_ms = 5_000),
        ("SMS__TIMEOUT_MS", |config| config.attempts_max = 0),
    ];
    for (variable, spoil) in cases {
        let mut config = config("https://example.com");
        spoil(&mut config);
        let refused = OtpDelivery::new(
            OtpDeliveryAdapter::Sms,
            Some(config),
            DeploymentEnvironment::Production,
        );
        let message = refused.expect_err(variable).to_string();
        assert!(message.contains(variable), "{message}");
    }
}
