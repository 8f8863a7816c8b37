//! The contract of the public API, endpoint by endpoint, through the gateway.

mod access;
mod admin_audit;
mod app_config;
mod attestations;
mod auth;
mod availability;
mod badges;
mod blocks;
mod bus;
mod calls;
mod calls_ending;
mod calls_low_balance;
mod calls_parties;
mod calls_races;
mod compatibility;
mod data_export;
mod database_rights;
mod deletion;
mod edges;
mod favorites;
mod feed;
mod history;
mod identities;
mod keys;
mod limits;
mod listeners;
mod logins;
mod media;
mod metrics;
mod payments;
mod payouts;
mod personal_data;
mod photos;
mod presence;
mod ratings;
mod recent_login;
mod reflection;
mod refunds;
mod ringing;
mod roles;
mod samples;
mod sessions;
mod sockets;
mod statements;
mod store_encryption;
mod terms;
mod texts;
mod user_tokens;
mod usernames;
mod users;
mod verification;
mod verification_formats;
mod verification_reviews;
mod wallet;

use serde_json::Value;
use talktime_client::ApiAnswer;

/// Asserts a problem document (RFC 9457) with this status and code.
#[track_caller]
fn assert_problem(answer: &ApiAnswer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.body["code"].as_str()),
        (status, Some(code)),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    for field in ["type", "title", "detail", "request_id"] {
        assert!(answer.body[field].is_string(), "{field}: {answer:?}");
    }
    assert_eq!(answer.body["status"], status);
}

/// Asserts that an object has every one of these fields.
#[track_caller]
fn assert_fields(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(
            object.get(field).is_some(),
            "{field} is missing in {object}"
        );
    }
}
