//! Contract, section 8: submissions of samples.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::audio::{self, FORM_TYPE, form};
use talktime_tests::{ExpectAnswer, TestApp, object_store_client};

use crate::samples::{fetch_address, read_status, review_sample, upload_file, upload_form};
use crate::{assert_fields, assert_problem};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_sample_of_each_format_is_served_unchanged() {
    let app = talktime_tests::connect_app().await;
    for (extension, file) in [
        ("mp3", audio::mp3(40)),
        ("wav", audio::wav(40)),
        ("m4a", audio::m4a(40)),
        ("aac", audio::aac(40)),
    ] {
        let listener = app.sign_up(UserRole::Listener).await;
        // The file name of the client indicates another format and another folder.
        let form = form("../../etc/passwd.exe", &file, Some("my voice"));
        let accepted = upload_form(&app, &listener, form).await;
        assert_eq!(accepted.status, 200, "{extension}: {accepted:?}");
        assert_fields(
            &accepted.body,
            &["verification_id", "uploaded_at", "message"],
        );
        assert_eq!(accepted.body["status"], "pending");
        let address = accepted.body["audio_url"].as_str().expect("an address");
        let folder = format!("/verification-audio/{}/", listener.user_id);
        let (path, query) = address.split_once('?').expect("signed");
        assert!(path.contains(&folder), "{address}");
        assert!(path.ends_with(&format!(".{extension}")), "{address}");
        assert!(query.contains("X-Amz-Signature="), "{address}");
        assert_eq!(
            fetch_address(&accepted.body["audio_url"]).await,
            (200, file)
        );
        let unsigned = fetch_address(&path.into()).await.0;
        assert_eq!(unsigned, 403, "the bucket is private");
    }
}

/// Returns files that are no samples: a description, the file, and the code of its refusal.
fn wrong_samples() -> [(&'static str, Vec<u8>, &'static str); 16] {
    let truncated = |file: Vec<u8>| file[..file.len() / 2].to_vec();
    let followed_by_noise = |head: &[u8]| [head, &vec![0x5A; 100_000]].concat();
    [
        ("nothing", Vec::new(), "empty_audio"),
        ("a byte", vec![0xFF], "unsupported_audio"),
        (
            "a zip",
            followed_by_noise(b"PK\x03\x04"),
            "unsupported_audio",
        ),
        (
            "a page",
            followed_by_noise(b"<!DOCTYPE html>"),
            "unsupported_audio",
        ),
        (
            "an image",
            followed_by_noise(b"\x89PNG\r\n\x1a\n"),
            "unsupported_audio",
        ),
        ("half a WAV", truncated(audio::wav(80)), "damaged_audio"),
        ("half an M4A", truncated(audio::m4a(80)), "damaged_audio"),
        (
            "noise named RIFF",
            followed_by_noise(b"RIFF\0\0\0\0WAVE"),
            "damaged_audio",
        ),
        (
            "noise named MP4",
            followed_by_noise(b"\0\0\0\x18ftypM4A "),
            "damaged_audio",
        ),
        (
            "noise named MP3",
            followed_by_noise(b"ID3\x04\0\0"),
            "damaged_audio",
        ),
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
    ]
}

#[tokio::test]
async fn files_that_are_no_samples_are_refused() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    for (description, file, code) in wrong_samples() {
        let refused = upload_file(&app, &listener, &file).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, code),
            "{description}: {refused:?}"
        );
    }
    let status = read_status(&app, &listener).await;
    assert_eq!(status["verification_status"], "not_submitted");
    assert_eq!(status["current_verification"], Value::Null);
    for (duration, file) in [("30 s", audio::wav(30)), ("5 min", audio::wav(300))] {
        let listener = app.sign_up(UserRole::Listener).await;
        assert_eq!(
            upload_file(&app, &listener, &file).await.status,
            200,
            "{duration}"
        );
    }
}

#[tokio::test]
async fn a_sample_has_at_most_ten_megabytes() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    // A real sample, padded by a chunk that players skip.
    let sample_of_length = |length: usize| {
        let mut file = audio::wav(60);
        let padding = u32::try_from(length - file.len() - 8).expect("small");
        file.extend(b"LIST");
        file.extend(padding.to_le_bytes());
        file.resize(length, 0);
        file
    };
    let refused = upload_file(&app, &listener, &sample_of_length(10 * MIB + 1)).await;
    assert_problem(&refused, 413, "audio_too_large");
    let much = upload_file(&app, &listener, &sample_of_length(11 * MIB)).await;
    assert_problem(&much, 413, "audio_too_large");
    let accepted = upload_file(&app, &listener, &sample_of_length(10 * MIB)).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
}

#[tokio::test]
async fn a_form_without_a_file_is_refused() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let post = || {
        app.post("/verification/upload-audio-file")
            .as_user(&listener)
    };
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
    assert_eq!(read_status(&app, &listener).await["verification_count"], 0);
}

#[tokio::test]
async fn only_listeners_submit_samples_and_only_admins_review_them() {
    let app = talktime_tests::connect_app().await;
    let user = app.sign_up(UserRole::User).await;
    assert_problem(
        &upload_file(&app, &user, &audio::wav(40)).await,
        403,
        "listener_only",
    );
    for path in ["/verification/status", "/verification/history"] {
        assert_problem(
            &app.get(path).as_user(&user).answer().await,
            403,
            "listener_only",
        );
        assert_eq!(app.get(path).answer().await.status, 401);
    }
    let address = json!({"audio_url": "https://samples.example.com/a.mp3"});
    let request = app.post("/verification/upload-audio-url").as_user(&user);
    assert_problem(&request.json(&address).answer().await, 403, "listener_only");
    let pending = app.get("/admin/verification/pending");
    assert_problem(&pending.as_user(&user).answer().await, 403, "admin_only");
    assert_problem(
        &review_sample(&app, &user, &json!(1), "approve").await,
        403,
        "admin_only",
    );
    let request = app.post("/admin/verification/revoke").as_user(&user);
    let revoked = request
        .json(&json!({"user_id": user.user_id}))
        .answer()
        .await;
    assert_problem(&revoked, 403, "admin_only");
}

#[tokio::test]
async fn one_of_ten_concurrent_uploads_is_accepted() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let file = audio::wav(31);
    let answers = join_all((0..10).map(|_| upload_file(&app, &listener, &file))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(accepted.count(), 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_problem(refused, 409, "verification_pending");
    }
    assert_eq!(read_status(&app, &listener).await["verification_count"], 1);
}

/// Addresses that are not a plain https address with a host name.
const INVALID_ADDRESSES: &[&str] = &[
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
    // Other notations of IP addresses.
    "https://0/a.mp3",
    "https://127.1/a.mp3",
    "https://2130706433/a.mp3",
    "https://0x7f000001/a.mp3",
    "https://0x7f.0.0.1/a.mp3",
    "https://0177.0.0.1/a.mp3",
    "https://１２７.0.0.1/a.mp3",
    "https://127。0。0。1/a.mp3",
    "https://%31%32%37.0.0.1/a.mp3",
    // Disguises of the allowed host, and other hosts behind it.
    "https://samples.example.com@10.0.0.1/a.mp3",
    "https://samples%2Eexample%2Ecom/a.mp3",
    "https://ｓamples.example.com/a.mp3",
    "https://user:secret@samples.example.com/a.mp3",
    "https://samples.example.com:8443/a.mp3",
    "https://samples.example.com\\@10.0.0.1/",
    "https://sample%73.example.com/a.mp3",
    "not an address",
];

async fn submit_address(app: &TestApp, listener: &AppUser, address: &str) -> ApiAnswer {
    let request = app.post("/verification/upload-audio-url").as_user(listener);
    let body = json!({"audio_url": address, "description": "hi"});
    request.json(&body).answer().await
}

#[tokio::test]
async fn an_address_that_is_not_plain_is_refused() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    for address in INVALID_ADDRESSES {
        let refused = submit_address(&app, &listener, address).await;
        assert_problem(&refused, 400, "invalid_audio_url");
    }
}

#[tokio::test]
async fn an_address_must_be_on_an_allowed_host() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    for address in [
        "https://example.org/a.mp3",
        "https://localhost/a.mp3",
        "https://samples.example.com./a.mp3",
        "https://samples.example.com.evil.test/a.mp3",
        "https://evil-samples.example.com/a.mp3",
        "https://metadata.google.internal/computeMetadata/v1/",
    ] {
        let refused = submit_address(&app, &listener, address).await;
        assert_problem(&refused, 400, "audio_host_not_allowed");
    }
    // The host does not exist, so an attempt to fetch the sample would fail.
    let address = "https://samples.example.com/redirect?to=http://10.0.0.1/";
    let accepted = submit_address(&app, &listener, address).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!(accepted.body["audio_url"], address);
    let second = submit_address(&app, &listener, address).await;
    assert_problem(&second, 409, "verification_pending");
}

#[tokio::test]
async fn a_ticket_accepts_only_the_announced_length_and_type() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let other = app.sign_up(UserRole::Listener).await;
    let file = audio::wav(45);
    let ticket_request = app.post("/verification/upload-ticket").as_user(&listener);
    let body = json!({"length_bytes": file.len(), "content_type": "audio/wav"});
    let ticket = ticket_request.json(&body).answer().await;
    assert_eq!(ticket.status, 200, "{ticket:?}");
    let confirm = |person: &AppUser| {
        let ticket_request = app.post("/verification/confirm").as_user(person);
        ticket_request
            .json(&json!({"upload_id": ticket.body["upload_id"]}))
            .answer()
    };
    assert_problem(&confirm(&listener).await, 404, "upload_not_found");

    let put_file = |content_type: &'static str, body: Vec<u8>| {
        let url = ticket.body["upload_url"].as_str().expect("an address");
        let request = object_store_client().put(url);
        request
            .header("content-type", content_type)
            .body(body)
            .send()
    };
    let longer = put_file("audio/wav", [&file[..], b"x"].concat()).await;
    assert_eq!(longer.expect("answered").status(), 403, "another length");
    let typed = put_file("text/html", file.clone()).await;
    assert_eq!(typed.expect("answered").status(), 403, "another type");
    let right = put_file("audio/wav", file.clone()).await;
    assert_eq!(right.expect("answered").status(), 200);

    assert_problem(&confirm(&other).await, 404, "upload_not_found");
    let accepted = confirm(&listener).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    // The ticket is still valid, but a later upload does not replace the judged sample.
    let again = put_file("audio/wav", vec![0; file.len()]).await;
    assert_eq!(again.expect("answered").status(), 200);
    assert_eq!(
        fetch_address(&accepted.body["audio_url"]).await,
        (200, file)
    );
    assert_problem(&confirm(&listener).await, 409, "verification_pending");
}

#[tokio::test]
async fn a_ticket_for_an_invalid_length_or_type_is_refused() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    for body in [
        json!({"length_bytes": 0, "content_type": "audio/wav"}),
        json!({"length_bytes": 10 * MIB + 1, "content_type": "audio/wav"}),
        json!({"length_bytes": 1000, "content_type": "text/html"}),
    ] {
        let request = app.post("/verification/upload-ticket").as_user(&listener);
        assert_eq!(request.json(&body).answer().await.status, 400, "{body}");
    }
}
