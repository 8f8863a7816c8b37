//! Section 8: samples, their review, and what becomes of a listener.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{Answer, Person, Role};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{VerificationReviewed, VerificationSubmitted};
use talktime_tests::audio::{self, FORM_TYPE, form};
use talktime_tests::replica::second_gateway;
use talktime_tests::{Answered, EventLog, TestApp, WAIT_MAX, dev, wait_for};

use crate::{assert_fields, assert_problem};

const MIB: usize = 1024 * 1024;

pub(crate) async fn upload(app: &TestApp, person: &Person, file: &[u8]) -> Answer {
    upload_form(app, person, form("sample.mp3", file, Some("my voice"))).await
}

async fn upload_form(app: &TestApp, person: &Person, form: Vec<u8>) -> Answer {
    let ask = app.post("/verification/upload-audio-file").of(person);
    ask.body(FORM_TYPE, form).answer().await
}

async fn status(app: &TestApp, person: &Person) -> Value {
    let answer = app.get("/verification/status").of(person).answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn admin(app: &TestApp) -> Person {
    let admin = app.sign_up(Role::User).await;
    dev(&["grant-admin", &admin.phone]).await;
    admin
}

async fn review(app: &TestApp, admin: &Person, id: &Value, action: &str) -> Answer {
    let body = json!({"verification_id": id, "action": action, "reviewer_notes": "heard"});
    let ask = app.post("/admin/verification/review").of(admin);
    ask.json(&body).answer().await
}

async fn is_verified_in_feed(app: &TestApp, viewer: &Person, listener: &Person) -> Option<bool> {
    let path = "/feed/listeners?sort_by=recent&per_page=100";
    let feed = app.get(path).of(viewer).answer().await;
    let listeners = feed.body["listeners"].as_array()?;
    let entry = listeners
        .iter()
        .find(|entry| entry["user_id"] == listener.user_id)?;
    entry["is_verified"].as_bool()
}

async fn fetch(address: &Value) -> (u16, Vec<u8>) {
    let address = address.as_str().expect("an address");
    let response = reqwest::get(address).await.expect("the store answers");
    let status = response.status().as_u16();
    (status, response.bytes().await.expect("a body").to_vec())
}

#[tokio::test]
async fn each_format_is_taken_and_comes_back_as_it_went() {
    let app = talktime_tests::app().await;
    for (extension, file) in [
        ("mp3", audio::mp3(40)),
        ("wav", audio::wav(40)),
        ("m4a", audio::m4a(40)),
        ("aac", audio::aac(40)),
    ] {
        let listener = app.sign_up(Role::Listener).await;
        // The name that the client gives says another format, and another folder.
        let form = form("../../etc/passwd.exe", &file, Some("my voice"));
        let taken = upload_form(&app, &listener, form).await;
        assert_eq!(taken.status, 200, "{extension}: {taken:?}");
        assert_fields(&taken.body, &["verification_id", "uploaded_at", "message"]);
        assert_eq!(taken.body["status"], "pending");
        let address = taken.body["audio_url"].as_str().expect("an address");
        let folder = format!("/verification-audio/{}/", listener.user_id);
        let (path, query) = address.split_once('?').expect("signed");
        assert!(path.contains(&folder), "{address}");
        assert!(path.ends_with(&format!(".{extension}")), "{address}");
        assert!(query.contains("X-Amz-Signature="), "{address}");
        assert_eq!(fetch(&taken.body["audio_url"]).await, (200, file));
        let unsigned = fetch(&path.into()).await.0;
        assert_eq!(unsigned, 403, "the bucket is private");
    }
}

#[tokio::test]
async fn what_is_no_sample_is_refused_and_leaves_nothing() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let truncated = |file: Vec<u8>| file[..file.len() / 2].to_vec();
    let noise = |head: &[u8]| [head, &vec![0x5A; 100_000]].concat();
    for (what, file, code) in [
        ("nothing", Vec::new(), "empty_audio"),
        ("a byte", vec![0xFF], "unsupported_audio"),
        ("a zip", noise(b"PK\x03\x04"), "unsupported_audio"),
        ("a page", noise(b"<!DOCTYPE html>"), "unsupported_audio"),
        ("an image", noise(b"\x89PNG\r\n\x1a\n"), "unsupported_audio"),
        ("half a WAV", truncated(audio::wav(80)), "damaged_audio"),
        ("half an M4A", truncated(audio::m4a(80)), "damaged_audio"),
        (
            "noise named RIFF",
            noise(b"RIFF\0\0\0\0WAVE"),
            "damaged_audio",
        ),
        (
            "noise named MP4",
            noise(b"\0\0\0\x18ftypM4A "),
            "damaged_audio",
        ),
        ("noise named MP3", noise(b"ID3\x04\0\0"), "damaged_audio"),
        (
            "a WAV that claims 4 GB",
            audio::wav_claiming(320_000, u32::MAX - 64),
            "damaged_audio",
        ),
        (
            "an index of 4G entries",
            audio::m4a_claiming(u32::MAX),
            "damaged_audio",
        ),
        ("29 s", audio::wav(29), "invalid_audio_duration"),
        ("29 s of MP3", audio::mp3(28), "invalid_audio_duration"),
        ("301 s", audio::wav(301), "invalid_audio_duration"),
        ("an hour", audio::aac(3_600), "invalid_audio_duration"),
    ] {
        let refused = upload(&app, &listener, &file).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, code),
            "{what}: {refused:?}"
        );
    }
    let status = status(&app, &listener).await;
    assert_eq!(status["verification_status"], "not_submitted");
    assert_eq!(status["current_verification"], Value::Null);
    for (what, file) in [("30 s", audio::wav(30)), ("5 min", audio::wav(300))] {
        let listener = app.sign_up(Role::Listener).await;
        assert_eq!(upload(&app, &listener, &file).await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn the_first_byte_over_ten_megabytes_is_one_too_many() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    // A real sample, padded by a chunk that players skip.
    let padded = |length: usize| {
        let mut file = audio::wav(60);
        let padding = u32::try_from(length - file.len() - 8).expect("small");
        file.extend(b"LIST");
        file.extend(padding.to_le_bytes());
        file.resize(length, 0);
        file
    };
    let refused = upload(&app, &listener, &padded(10 * MIB + 1)).await;
    assert_problem(&refused, 413, "audio_too_large");
    let much = upload(&app, &listener, &padded(11 * MIB)).await;
    assert_problem(&much, 413, "audio_too_large");
    let taken = upload(&app, &listener, &padded(10 * MIB)).await;
    assert_eq!(taken.status, 200, "{taken:?}");
}

#[tokio::test]
async fn a_form_must_be_one_and_have_the_file() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let post = || app.post("/verification/upload-audio-file").of(&listener);
    let json = post().json(&json!({"audio_file": "x"})).answer().await;
    assert_problem(&json, 415, "unsupported_media_type");
    let empty = post().body(FORM_TYPE, "------sample--\r\n").answer().await;
    assert_problem(&empty, 422, "invalid_body");
    assert_eq!(empty.body["errors"][0]["field"], "audio_file");
    let whole = form("a.wav", &audio::wav(40), None);
    let cut = whole[..whole.len() - 40].to_vec();
    assert_problem(
        &post().body(FORM_TYPE, cut).answer().await,
        400,
        "unreadable_body",
    );
    let long = form("a.wav", &audio::wav(40), Some(&"x".repeat(501)));
    assert_problem(
        &post().body(FORM_TYPE, long).answer().await,
        400,
        "text_too_long",
    );
    assert_eq!(status(&app, &listener).await["verification_count"], 0);
}

#[tokio::test]
async fn only_listeners_send_samples_and_only_admins_decide() {
    let app = talktime_tests::app().await;
    let user = app.sign_up(Role::User).await;
    assert_problem(
        &upload(&app, &user, &audio::wav(40)).await,
        403,
        "listener_only",
    );
    for path in ["/verification/status", "/verification/history"] {
        assert_problem(
            &app.get(path).of(&user).answer().await,
            403,
            "listener_only",
        );
        assert_eq!(app.get(path).answer().await.status, 401);
    }
    let address = json!({"audio_url": "https://samples.example.com/a.mp3"});
    let ask = app.post("/verification/upload-audio-url").of(&user);
    assert_problem(&ask.json(&address).answer().await, 403, "listener_only");
    let pending = app.get("/admin/verification/pending");
    assert_problem(&pending.of(&user).answer().await, 403, "admin_only");
    assert_problem(
        &review(&app, &user, &json!(1), "approve").await,
        403,
        "admin_only",
    );
    let ask = app.post("/admin/verification/revoke").of(&user);
    let revoked = ask.json(&json!({"user_id": user.user_id})).answer().await;
    assert_problem(&revoked, 403, "admin_only");
}

#[tokio::test]
async fn one_sample_waits_at_a_time_even_of_ten_at_once() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let file = audio::wav(31);
    let answers = join_all((0..10).map(|_| upload(&app, &listener, &file))).await;
    let taken = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(taken.count(), 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_problem(refused, 409, "verification_pending");
    }
    assert_eq!(status(&app, &listener).await["verification_count"], 1);
}

#[tokio::test]
async fn a_sample_by_address_must_be_plain_and_on_an_allowed_host() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let submit = |address: &str| {
        let ask = app.post("/verification/upload-audio-url").of(&listener);
        ask.json(&json!({"audio_url": address, "description": "hi"}))
            .answer()
    };
    for address in [
        "http://samples.example.com/a.mp3",
        "file:///etc/passwd",
        "gopher://samples.example.com/a.mp3",
        // Private, local and link-local ranges.
        "https://127.0.0.1/a.mp3",
        "https://127.0.0.1./a.mp3",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a.mp3",
        "https://172.16.0.1/a.mp3",
        "https://172.31.255.255/a.mp3",
        "https://192.168.0.1/a.mp3",
        "https://100.64.0.1/a.mp3",
        "https://0.0.0.0/a.mp3",
        "https://[::]/a.mp3",
        "https://[::1]/a.mp3",
        "https://[fd00::1]/a.mp3",
        "https://[fe80::1]/a.mp3",
        "https://[::ffff:10.0.0.1]/a.mp3",
        "https://[64:ff9b::10.0.0.1]/a.mp3",
        // The same in other words.
        "https://0/a.mp3",
        "https://127.1/a.mp3",
        "https://2130706433/a.mp3",
        "https://0x7f000001/a.mp3",
        "https://0x7f.0.0.1/a.mp3",
        "https://0177.0.0.1/a.mp3",
        "https://１２７.0.0.1/a.mp3",
        "https://127。0。0。1/a.mp3",
        "https://%31%32%37.0.0.1/a.mp3",
        // The allowed host in disguise, or as a disguise.
        "https://samples.example.com@10.0.0.1/a.mp3",
        "https://samples%2Eexample%2Ecom/a.mp3",
        "https://ｓamples.example.com/a.mp3",
        "https://user:secret@samples.example.com/a.mp3",
        "https://samples.example.com:8443/a.mp3",
        "https://samples.example.com\\@10.0.0.1/",
        "https://sample%73.example.com/a.mp3",
        "not an address",
    ] {
        assert_problem(&submit(address).await, 400, "invalid_audio_url");
    }
    for elsewhere in [
        "https://example.org/a.mp3",
        "https://localhost/a.mp3",
        "https://samples.example.com./a.mp3",
        "https://samples.example.com.evil.test/a.mp3",
        "https://evil-samples.example.com/a.mp3",
        "https://metadata.google.internal/computeMetadata/v1/",
    ] {
        let refused = submit(elsewhere).await;
        assert_problem(&refused, 400, "audio_host_not_allowed");
    }
    // No machine has this name, so an attempt to fetch it would fail; and where its answer would lead
    // to makes no difference.
    let address = "https://samples.example.com/redirect?to=http://10.0.0.1/";
    let taken = submit(address).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(taken.body["audio_url"], address);
    assert_problem(&submit(address).await, 409, "verification_pending");
}

#[tokio::test]
async fn a_ticket_takes_exactly_what_it_was_made_for() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let other = app.sign_up(Role::Listener).await;
    let file = audio::wav(45);
    let ask = app.post("/verification/upload-ticket").of(&listener);
    let body = json!({"length_bytes": file.len(), "content_type": "audio/wav"});
    let ticket = ask.json(&body).answer().await;
    assert_eq!(ticket.status, 200, "{ticket:?}");
    let confirm = |person: &Person| {
        let ask = app.post("/verification/confirm").of(person);
        ask.json(&json!({"upload_id": ticket.body["upload_id"]}))
            .answer()
    };
    assert_problem(&confirm(&listener).await, 404, "upload_not_found");

    let put = |content_type: &'static str, body: Vec<u8>| {
        let url = ticket.body["upload_url"].as_str().expect("an address");
        let request = reqwest::Client::new().put(url);
        request
            .header("content-type", content_type)
            .body(body)
            .send()
    };
    let longer = put("audio/wav", [&file[..], b"x"].concat()).await;
    assert_eq!(longer.expect("answered").status(), 403, "another length");
    let typed = put("text/html", file.clone()).await;
    assert_eq!(typed.expect("answered").status(), 403, "another type");
    let right = put("audio/wav", file.clone()).await;
    assert_eq!(right.expect("answered").status(), 200);

    assert_problem(&confirm(&other).await, 404, "upload_not_found");
    let taken = confirm(&listener).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    // The ticket is good for a while yet, but what was judged stays as it is.
    let again = put("audio/wav", vec![0; file.len()]).await;
    assert_eq!(again.expect("answered").status(), 200);
    assert_eq!(fetch(&taken.body["audio_url"]).await, (200, file));
    assert_problem(&confirm(&listener).await, 409, "verification_pending");
    for body in [
        json!({"length_bytes": 0, "content_type": "audio/wav"}),
        json!({"length_bytes": 10 * MIB + 1, "content_type": "audio/wav"}),
        json!({"length_bytes": 1000, "content_type": "text/html"}),
    ] {
        let ask = app.post("/verification/upload-ticket").of(&other);
        assert_eq!(ask.json(&body).answer().await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_review_decides_and_a_revocation_takes_it_back() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let viewer = app.sign_up(Role::User).await;
    let admin = admin(&app).await;
    let first = upload(&app, &listener, &audio::wav(40)).await.body["verification_id"].clone();
    let rejected = review(&app, &admin, &first, "reject").await;
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
    assert_problem(
        &review(&app, &admin, &first, "approve").await,
        409,
        "already_reviewed",
    );

    let second = upload(&app, &listener, &audio::wav(40)).await.body["verification_id"].clone();
    assert_eq!(review(&app, &admin, &second, "approve").await.status, 200);
    let now = status(&app, &listener).await;
    assert_eq!(now["verification_status"], "approved");
    assert_eq!(
        (&now["is_verified"], &now["verification_count"]),
        (&json!(true), &json!(2))
    );
    let current = &now["current_verification"];
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
    wait_for("the feed to show it", || async {
        let shown = is_verified_in_feed(&app, &viewer, &listener).await;
        (shown == Some(true)).then_some(())
    })
    .await;

    let history = app
        .get("/verification/history")
        .of(&listener)
        .answer()
        .await;
    assert_eq!(history.status, 200, "{history:?}");
    let counts = ["total_count", "approved_count", "rejected_count"];
    assert_eq!(
        counts.map(|count| history.body[count].as_i64()),
        [Some(2), Some(1), Some(1)]
    );
    let newest = &history.body["verifications"][0];
    assert_eq!(newest["verification_id"], second);
    assert_eq!(newest["reviewer_id"], admin.user_id);

    let revoke = || {
        let ask = app.post("/admin/verification/revoke").of(&admin);
        ask.json(&json!({"user_id": listener.user_id, "reason": "complaints"}))
            .answer()
    };
    let revoked = revoke().await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_problem(&revoke().await, 409, "not_verified");
    let now = status(&app, &listener).await;
    assert_eq!(now["verification_status"], "revoked");
    assert_eq!(now["is_verified"], false);
    wait_for("the feed to show it no more", || async {
        let shown = is_verified_in_feed(&app, &viewer, &listener).await;
        (shown == Some(false)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sample_and_its_review_are_told_to_whoever_listens() {
    let app = talktime_tests::app().await;
    let mut events = EventLog::of("events.verification.>").await;
    let listener = app.sign_up(Role::Listener).await;
    let admin = admin(&app).await;
    let id = upload(&app, &listener, &audio::wav(40)).await.body["verification_id"].clone();
    let verification_id = id.as_i64().expect("an id");
    assert_eq!(review(&app, &admin, &id, "approve").await.status, 200);

    let ours = |kind: &Kind| match kind {
        Kind::VerificationSubmitted(event) => event.user_id == listener.user_id,
        Kind::VerificationReviewed(event) => event.user_id == listener.user_id,
        _ => false,
    };
    let submitted = events.next_where(ours).await;
    assert_eq!(
        submitted.kind,
        Some(Kind::VerificationSubmitted(VerificationSubmitted {
            user_id: listener.user_id,
            verification_id,
        }))
    );
    let reviewed = events.next_where(ours).await;
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
async fn a_listener_hears_on_their_socket_what_was_decided() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let other = app.sign_up(Role::Listener).await;
    let admin = admin(&app).await;
    let mut socket = app.open_socket("/ws/notifications", &listener).await;
    let id = upload(&app, &listener, &audio::wav(40)).await.body["verification_id"].clone();
    // Another's comes first, and is nobody else's business.
    let others = upload(&app, &other, &audio::wav(40)).await.body["verification_id"].clone();
    assert_eq!(review(&app, &admin, &others, "reject").await.status, 200);
    assert_eq!(review(&app, &admin, &id, "approve").await.status, 200);
    let told = socket.next_of_type("verification_reviewed", WAIT_MAX).await;
    assert_eq!(
        told.expect("told")["data"],
        json!({
            "user_id": listener.user_id,
            "verification_id": id,
            "status": "approved",
            "is_verified": true,
            "reviewer_notes": "heard",
        })
    );
    let ask = app.post("/admin/verification/revoke").of(&admin);
    let revoked = ask.json(&json!({"user_id": listener.user_id})).answer();
    assert_eq!(revoked.await.status, 200);
    let told = socket.next_of_type("verification_reviewed", WAIT_MAX).await;
    let told = told.expect("told");
    assert_eq!(told["data"]["status"], "revoked", "{told}");
    assert_eq!(told["data"]["is_verified"], false, "{told}");
}

#[tokio::test]
async fn a_revoked_listener_leaves_open_feed_sockets_at_once() {
    let app = talktime_tests::app().await;
    let required = ("TALKTIME_GATEWAY__REQUIRE_VERIFIED_LISTENERS", "true");
    let replica = second_gateway(&[required]).await;
    let (listener, other) = (
        app.sign_up(Role::Listener).await,
        app.sign_up(Role::Listener).await,
    );
    let (admin, watcher) = (admin(&app).await, app.sign_up(Role::User).await);
    let approve = async || {
        let taken = upload(&app, &listener, &audio::wav(40)).await;
        let id = &taken.body["verification_id"];
        assert_eq!(review(&app, &admin, id, "approve").await.status, 200);
    };
    let change = async |person: &Person, wait_time: i64| {
        let put = app.put("/users/me/status").of(person);
        let put = put.json(&json!({"wait_time": wait_time})).answer().await;
        assert_eq!(put.status, 200, "{put:?}");
    };
    approve().await;
    let mut socket = replica.app.socket("/ws/feed", &watcher).await;
    let socket = socket.as_mut().expect("the socket opens");
    let both = [listener.user_id, other.user_id];
    let choose = json!({"type": "subscribe", "data": {"user_ids": both}});
    socket.send(&choose).await.expect("sent");
    let subscribed = socket.next_of_type("subscribed", WAIT_MAX).await;
    subscribed.expect("an answer");

    let ask = app.post("/admin/verification/revoke").of(&admin);
    let revoked = ask.json(&json!({"user_id": listener.user_id})).answer();
    assert_eq!(revoked.await.status, 200);
    let gone = socket.next_of_type("listener_offline", WAIT_MAX).await;
    let gone = gone.expect("told");
    assert_eq!(gone["data"]["user_id"], listener.user_id, "{gone}");
    assert_eq!(gone["data"]["username"], listener.username, "{gone}");
    assert_eq!(gone["data"]["is_available"], false, "{gone}");

    change(&listener, 11).await;
    change(&other, 12).await;
    let next = socket.next_of_type("listener_available", WAIT_MAX).await;
    assert_eq!(next.expect("a change")["data"]["wait_time"], 12);
    // Its event may come after that of a change made at once.
    let mut notified = replica.app.socket("/ws/notifications", &listener).await;
    let notified = notified.as_mut().expect("the socket opens");
    notified
        .next_of_type("hello", WAIT_MAX)
        .await
        .expect("hello");
    approve().await;
    let reviewed = notified.next_of_type("verification_reviewed", WAIT_MAX);
    reviewed.await.expect("told");
    change(&listener, 13).await;
    let back = socket.next_of_type("listener_available", WAIT_MAX).await;
    assert_eq!(back.expect("a change")["data"]["wait_time"], 13);
}

#[tokio::test]
async fn of_two_admins_at_once_one_decides() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let (one, other) = (admin(&app).await, admin(&app).await);
    let id = upload(&app, &listener, &audio::wav(40)).await.body["verification_id"].clone();
    let (approved, rejected) = tokio::join!(
        review(&app, &one, &id, "approve"),
        review(&app, &other, &id, "reject")
    );
    let (winner, loser) = if approved.status == 200 {
        (approved, rejected)
    } else {
        (rejected, approved)
    };
    assert_eq!(winner.status, 200, "{winner:?}");
    assert_problem(&loser, 409, "already_reviewed");
    let now = status(&app, &listener).await;
    assert_eq!(now["verification_status"], winner.body["status"]);
}

#[tokio::test]
async fn admins_see_what_waits_and_bad_reviews_are_refused() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let admin = admin(&app).await;
    let id = upload(&app, &listener, &audio::aac(40)).await.body["verification_id"].clone();
    let mut found = None;
    for page in 1..100 {
        let path = format!("/admin/verification/pending?page={page}&per_page=100");
        let answer = app.get(&path).of(&admin).answer().await;
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
    let entry = found.expect("it waits");
    assert_eq!(entry["user_id"], listener.user_id);
    assert_eq!(entry["username"], listener.username);
    assert_eq!(entry["description"], "my voice");
    assert_eq!(fetch(&entry["audio_url"]).await, (200, audio::aac(40)));

    let missing = review(&app, &admin, &json!(i64::MAX), "approve").await;
    assert_problem(&missing, 404, "verification_not_found");
    assert_problem(
        &review(&app, &admin, &id, "maybe").await,
        400,
        "invalid_action",
    );
    assert_eq!(
        review(&app, &admin, &json!("x"), "approve").await.status,
        422
    );
    let page = app
        .get("/admin/verification/pending?page=0")
        .of(&admin)
        .answer()
        .await;
    assert_problem(&page, 400, "invalid_page");
}

#[tokio::test]
async fn a_deleted_listener_leaves_no_sample() {
    let app = talktime_tests::app().await;
    let listener = app.sign_up(Role::Listener).await;
    let admin = admin(&app).await;
    let id = upload(&app, &listener, &audio::wav(40)).await.body["verification_id"].clone();
    let deleted = app.delete("/users/me").of(&listener).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    wait_for("the sample to be forgotten", || async {
        let refused = review(&app, &admin, &id, "maybe").await;
        assert_eq!(refused.status, 400);
        let gone = review(&app, &admin, &id, "approve").await;
        (gone.status == 404).then_some(())
    })
    .await;
}
