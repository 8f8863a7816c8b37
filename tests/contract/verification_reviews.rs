//! Contract, section 8: reviews of samples, revocations, and their notifications.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{VerificationReviewed, VerificationSubmitted};
use talktime_tests::audio;
use talktime_tests::replica::start_gateway;
use talktime_tests::{EventLog, ExpectAnswer, TestApp, WAIT_MAX, wait_for};

use crate::samples::{fetch_address, read_status, review_sample, upload_file};
use crate::{assert_fields, assert_problem};

async fn find_verified_in_feed(
    app: &TestApp,
    viewer: &AppUser,
    listener: &AppUser,
) -> Option<bool> {
    let path = "/feed/listeners?sort_by=recent&per_page=100";
    let feed = app.get(path).as_user(viewer).answer().await;
    let listeners = feed.body["listeners"].as_array()?;
    let entry = listeners
        .iter()
        .find(|entry| entry["user_id"] == listener.user_id)?;
    entry["is_verified"].as_bool()
}

/// Uploads a sample and returns its id.
async fn upload_sample(app: &TestApp, listener: &AppUser) -> Value {
    let answer = upload_file(app, listener, &audio::wav(40)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["verification_id"].clone()
}

async fn revoke(app: &TestApp, admin: &AppUser, listener: &AppUser) -> ApiAnswer {
    let request = app.post("/admin/verification/revoke").as_user(admin);
    let body = json!({"user_id": listener.user_id, "reason": "complaints"});
    request.json(&body).answer().await
}

async fn await_verified_in_feed(
    app: &TestApp,
    viewer: &AppUser,
    listener: &AppUser,
    is_verified: bool,
) {
    wait_for("the feed to contain the verification", || async {
        let found = find_verified_in_feed(app, viewer, listener).await;
        (found == Some(is_verified)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rejected_sample_is_answered_with_its_review_and_stays_rejected() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let admin = app.sign_up_admin().await;
    let id = upload_sample(&app, &listener).await;
    let rejected = review_sample(&app, &admin, &id, "reject").await;
    assert_eq!(rejected.status, 200, "{rejected:?}");
    assert_eq!(rejected.body["status"], "rejected");
    assert_eq!(rejected.body["reviewer_id"], admin.user_id);
    assert_fields(
        &rejected.body,
        &[
            "verification_id",
            "reviewer_notes",
            "reviewed_at",
            "message",
        ],
    );
    let second = review_sample(&app, &admin, &id, "approve").await;
    assert_problem(&second, 409, "already_reviewed");
}

#[tokio::test]
async fn an_approval_after_a_rejection_verifies_the_listener() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let viewer = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let first = upload_sample(&app, &listener).await;
    let rejected = review_sample(&app, &admin, &first, "reject").await;
    assert_eq!(rejected.status, 200, "{rejected:?}");
    let second = upload_sample(&app, &listener).await;
    let approved = review_sample(&app, &admin, &second, "approve").await;
    assert_eq!(approved.status, 200, "{approved:?}");

    let status = read_status(&app, &listener).await;
    assert_eq!(status["verification_status"], "approved");
    assert_eq!(status["is_verified"], true);
    assert_eq!(status["verification_count"], 2);
    let current = &status["current_verification"];
    assert_eq!(current["reviewer_notes"], "heard");
    assert_fields(
        current,
        &[
            "verification_id",
            "status",
            "audio_url",
            "submitted_at",
            "reviewed_at",
        ],
    );
    await_verified_in_feed(&app, &viewer, &listener, true).await;

    let history = app.get("/verification/history").as_user(&listener);
    let history = history.answer().await;
    assert_eq!(history.status, 200, "{history:?}");
    let counts = ["total_count", "approved_count", "rejected_count"];
    assert_eq!(
        counts.map(|count| history.body[count].as_i64()),
        [Some(2), Some(1), Some(1)]
    );
    let newest = &history.body["verifications"][0];
    assert_eq!(newest["verification_id"], second);
    assert_eq!(newest["reviewer_id"], admin.user_id);
}

#[tokio::test]
async fn a_revocation_ends_the_verification() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let viewer = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let id = upload_sample(&app, &listener).await;
    let approved = review_sample(&app, &admin, &id, "approve").await;
    assert_eq!(approved.status, 200, "{approved:?}");
    await_verified_in_feed(&app, &viewer, &listener, true).await;

    let revoked = revoke(&app, &admin, &listener).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let second = revoke(&app, &admin, &listener).await;
    assert_problem(&second, 409, "not_verified");
    let status = read_status(&app, &listener).await;
    assert_eq!(status["verification_status"], "revoked");
    assert_eq!(status["is_verified"], false);
    await_verified_in_feed(&app, &viewer, &listener, false).await;
}

#[tokio::test]
async fn a_submission_and_its_review_are_published_as_events() {
    let app = talktime_tests::connect_app().await;
    let mut events = EventLog::subscribe("events.verification.>").await;
    let listener = app.sign_up(UserRole::Listener).await;
    let admin = app.sign_up_admin().await;
    let id = upload_sample(&app, &listener).await;
    let verification_id = id.as_i64().expect("an id");
    assert_eq!(
        review_sample(&app, &admin, &id, "approve").await.status,
        200
    );

    let is_about_listener = |kind: &Kind| match kind {
        Kind::VerificationSubmitted(event) => event.user_id == listener.user_id,
        Kind::VerificationReviewed(event) => event.user_id == listener.user_id,
        _ => false,
    };
    let submitted = events.receive_matching(is_about_listener).await;
    assert_eq!(
        submitted.kind,
        Some(Kind::VerificationSubmitted(VerificationSubmitted {
            user_id: listener.user_id,
            verification_id,
        }))
    );
    let reviewed = events.receive_matching(is_about_listener).await;
    assert!(reviewed.version > submitted.version, "{reviewed:?}");
    assert_eq!(
        reviewed.kind,
        Some(Kind::VerificationReviewed(VerificationReviewed {
            user_id: listener.user_id,
            verification_id,
            status: "approved".to_owned(),
            is_verified: true,
            reviewer_notes: Some("heard".to_owned()),
        }))
    );
}

#[tokio::test]
async fn a_listener_is_notified_of_a_review_and_a_revocation() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let other = app.sign_up(UserRole::Listener).await;
    let admin = app.sign_up_admin().await;
    let mut socket = app.open_socket("/ws/notifications", &listener).await;
    let id = upload_sample(&app, &listener).await;
    // The review of another listener is published first; the listener is not notified of it.
    let others = upload_sample(&app, &other).await;
    assert_eq!(
        review_sample(&app, &admin, &others, "reject").await.status,
        200
    );
    assert_eq!(
        review_sample(&app, &admin, &id, "approve").await.status,
        200
    );
    let message = socket.receive_type("verification_reviewed", WAIT_MAX).await;
    assert_eq!(
        message.expect("a message")["data"],
        json!({
            "user_id": listener.user_id,
            "verification_id": id,
            "status": "approved",
            "is_verified": true,
            "reviewer_notes": "heard",
        })
    );
    let request = app.post("/admin/verification/revoke").as_user(&admin);
    let revoked = request.json(&json!({"user_id": listener.user_id})).answer();
    assert_eq!(revoked.await.status, 200);
    let message = socket.receive_type("verification_reviewed", WAIT_MAX).await;
    let message = message.expect("a message");
    assert_eq!(message["data"]["status"], "revoked", "{message}");
    assert_eq!(message["data"]["is_verified"], false, "{message}");
}

#[tokio::test]
async fn a_revoked_listener_disappears_from_open_feed_sockets() {
    let app = talktime_tests::connect_app().await;
    let required = ("TALKTIME_GATEWAY__REQUIRE_VERIFIED_LISTENERS", "true");
    let replica = start_gateway(&[required]).await;
    let (listener, other) = (
        app.sign_up(UserRole::Listener).await,
        app.sign_up(UserRole::Listener).await,
    );
    let (admin, watcher) = (app.sign_up_admin().await, app.sign_up(UserRole::User).await);
    let approve = async || {
        let accepted = upload_file(&app, &listener, &audio::wav(40)).await;
        let id = &accepted.body["verification_id"];
        assert_eq!(review_sample(&app, &admin, id, "approve").await.status, 200);
    };
    let change = async |person: &AppUser, wait_time: i64| {
        let put = app.put("/users/me/status").as_user(person);
        let put = put.json(&json!({"wait_time": wait_time})).answer().await;
        assert_eq!(put.status, 200, "{put:?}");
    };
    approve().await;
    let mut socket = replica.app.connect_socket("/ws/feed", &watcher).await;
    let socket = socket.as_mut().expect("the socket opens");
    let both = [listener.user_id, other.user_id];
    let choose = json!({"type": "subscribe", "data": {"user_ids": both}});
    socket.send(&choose).await.expect("sent");
    let subscribed = socket.receive_type("subscribed", WAIT_MAX).await;
    subscribed.expect("an answer");

    let request = app.post("/admin/verification/revoke").as_user(&admin);
    let revoked = request.json(&json!({"user_id": listener.user_id})).answer();
    assert_eq!(revoked.await.status, 200);
    let gone = socket.receive_type("listener_offline", WAIT_MAX).await;
    let gone = gone.expect("a message");
    assert_eq!(gone["data"]["user_id"], listener.user_id, "{gone}");
    assert_eq!(gone["data"]["username"], listener.username, "{gone}");
    assert_eq!(gone["data"]["is_available"], false, "{gone}");

    change(&listener, 11).await;
    change(&other, 12).await;
    let next = socket.receive_type("listener_available", WAIT_MAX).await;
    assert_eq!(next.expect("a change")["data"]["wait_time"], 12);
    // Without this wait, the next change might be published before the review.
    let mut notified = replica
        .app
        .connect_socket("/ws/notifications", &listener)
        .await;
    let notified = notified.as_mut().expect("the socket opens");
    notified
        .receive_type("hello", WAIT_MAX)
        .await
        .expect("hello");
    approve().await;
    let reviewed = notified.receive_type("verification_reviewed", WAIT_MAX);
    reviewed.await.expect("a message");
    change(&listener, 13).await;
    let back = socket.receive_type("listener_available", WAIT_MAX).await;
    assert_eq!(back.expect("a change")["data"]["wait_time"], 13);
}

#[tokio::test]
async fn one_of_two_concurrent_reviews_succeeds() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let (one, other) = (app.sign_up_admin().await, app.sign_up_admin().await);
    let id = upload_sample(&app, &listener).await;
    let (approved, rejected) = tokio::join!(
        review_sample(&app, &one, &id, "approve"),
        review_sample(&app, &other, &id, "reject")
    );
    let (winner, loser) = if approved.status == 200 {
        (approved, rejected)
    } else {
        (rejected, approved)
    };
    assert_eq!(winner.status, 200, "{winner:?}");
    assert_problem(&loser, 409, "already_reviewed");
    let now = read_status(&app, &listener).await;
    assert_eq!(now["verification_status"], winner.body["status"]);
}

#[tokio::test]
async fn admins_page_through_the_pending_samples() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let admin = app.sign_up_admin().await;
    let id = upload_file(&app, &listener, &audio::aac(40)).await.body["verification_id"].clone();
    let mut found = None;
    for page in 1..100 {
        let path = format!("/admin/verification/pending?page={page}&per_page=100");
        let answer = app.get(&path).as_user(&admin).answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_fields(
            &answer.body,
            &[
                "total_pending",
                "page",
                "per_page",
                "has_next",
                "has_previous",
            ],
        );
        let entries = answer.body["pending_verifications"]
            .as_array()
            .expect("a list");
        found = entries
            .iter()
            .find(|entry| entry["verification_id"] == id)
            .cloned();
        if found.is_some() || answer.body["has_next"] == false {
            break;
        }
    }
    let entry = found.expect("the sample is pending");
    assert_eq!(entry["user_id"], listener.user_id);
    assert_eq!(entry["username"], listener.username);
    assert_eq!(entry["description"], "my voice");
    assert_eq!(
        fetch_address(&entry["audio_url"]).await,
        (200, audio::aac(40))
    );

    let missing = review_sample(&app, &admin, &json!(i64::MAX), "approve").await;
    assert_problem(&missing, 404, "verification_not_found");
    assert_problem(
        &review_sample(&app, &admin, &id, "maybe").await,
        400,
        "invalid_action",
    );
    assert_eq!(
        review_sample(&app, &admin, &json!("x"), "approve")
            .await
            .status,
        422
    );
    let page = app
        .get("/admin/verification/pending?page=0")
        .as_user(&admin)
        .answer()
        .await;
    assert_problem(&page, 400, "invalid_page");
}

#[tokio::test]
async fn samples_of_a_deleted_listener_are_deleted() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let admin = app.sign_up_admin().await;
    let id = upload_sample(&app, &listener).await;
    let deleted = app.delete("/users/me").as_user(&listener).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    wait_for("the sample to be deleted", || async {
        let refused = review_sample(&app, &admin, &id, "maybe").await;
        assert_eq!(refused.status, 400);
        let gone = review_sample(&app, &admin, &id, "approve").await;
        (gone.status == 404).then_some(())
    })
    .await;
}
