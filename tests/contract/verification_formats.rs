//! Contract, section 8: formats of samples that phones and recorders produce, and refusals of others.

use serde_json::json;
use talktime_client::UserRole;
use talktime_tests::{ExpectAnswer, audio, object_store_client};

use crate::assert_problem;
use crate::samples::upload_file;

#[tokio::test]
async fn a_ticket_accepts_the_media_types_that_phones_send() {
    let app = talktime_tests::connect_app().await;
    for (content_type, file) in [
        ("audio/x-m4a", audio::m4a(40)),
        ("audio/x-wav", audio::wav(40)),
        ("audio/mp3", audio::mp3(40)),
    ] {
        let listener = app.sign_up(UserRole::Listener).await;
        let request = app.post("/verification/upload-ticket").as_user(&listener);
        let body = json!({"length_bytes": file.len(), "content_type": content_type});
        let ticket = request.json(&body).answer().await;
        assert_eq!(ticket.status, 200, "{content_type}: {ticket:?}");
        assert_eq!(ticket.body["content_type"], content_type);
        let url = ticket.body["upload_url"].as_str().expect("an address");
        let put = object_store_client().put(url);
        let put = put.header("content-type", content_type).body(file).send();
        assert_eq!(put.await.expect("answered").status(), 200, "{content_type}");
        let confirm = app.post("/verification/confirm").as_user(&listener);
        let confirm = confirm.json(&json!({"upload_id": ticket.body["upload_id"]}));
        let accepted = confirm.answer().await;
        assert_eq!(accepted.status, 200, "{content_type}: {accepted:?}");
    }
}

#[tokio::test]
async fn the_refusal_of_another_codec_lists_the_accepted_formats() {
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let mut adpcm = audio::wav(40);
    adpcm[20] = 2;
    let mut amr = audio::m4a(40);
    let entry = amr.windows(4).position(|name| name == b"mp4a");
    amr[entry.expect("a sample entry")..][..4].copy_from_slice(b"samr");
    for file in [adpcm, amr] {
        let refused = upload_file(&app, &listener, &file).await;
        assert_problem(&refused, 400, "unsupported_audio");
        let detail = refused.body["detail"].as_str().expect("a reason");
        for format in ["MP3", "WAV", "M4A", "AAC"] {
            assert!(detail.contains(format), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_recording_with_an_unfinished_header_is_accepted() {
    let app = talktime_tests::connect_app().await;
    let bytes = u32::try_from(40 * audio::WAV_BYTES_PER_SEC).expect("small");
    for claimed in [0, u32::MAX, i32::MAX.unsigned_abs(), bytes - 8] {
        let listener = app.sign_up(UserRole::Listener).await;
        let accepted = upload_file(&app, &listener, &audio::wav_claiming(bytes, claimed)).await;
        assert_eq!(accepted.status, 200, "{claimed:#x}: {accepted:?}");
    }
}
