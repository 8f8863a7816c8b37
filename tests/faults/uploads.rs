//! Interrupted uploads: no row lacks its object, and no object remains without a row.

use std::time::{Duration, Instant};

use futures::future::join_all;
use image::ImageFormat;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::audio::{self, FORM_TYPE, form};
use talktime_tests::photo;
use talktime_tests::{CallPair, ExpectAnswer, TestApp, object_store_client, run_dev, wait_for};

use crate::lock_stack;

const GRACE: &str = "TALKTIME_VERIFICATION__RECONCILER__GRACE_SECS=2";
const EVERY: &str = "TALKTIME_VERIFICATION__RECONCILER__EVERY_SECS=1";

pub(crate) async fn upload(app: &TestApp, person: &AppUser) -> ApiAnswer {
    let body = form("sample.wav", &audio::wav(40), None);
    let request = app.post("/verification/upload-audio-file").as_user(person);
    request.body(FORM_TYPE, body).answer().await
}

async fn restart(variables: &[&str]) {
    let mut arguments = vec!["restart", "verification", "--no-build"];
    for variable in variables {
        arguments.extend(["--env", variable]);
    }
    run_dev(&arguments).await;
}

/// Returns the differences between rows and objects that the service itself reports.
async fn count_differences() -> Option<String> {
    let output = tokio::process::Command::new(talktime_tests::read_variable("TALKTIME_DEV"))
        .args(["--stack", "test", "run", "verification", "verify"])
        .output()
        .await
        .expect("the runner runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(message)
}

async fn assert_no_record_without_object() {
    if let Some(differences) = count_differences().await {
        assert!(
            differences.contains("records_without_object: 0"),
            "{differences}"
        );
    }
}

/// Restarts verification with a reconciler that runs often and deletes early, and waits until it has nothing to do.
async fn wait_until_reconciled() {
    restart(&[GRACE, EVERY]).await;
    wait_for("the reconciler", || async {
        count_differences().await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_survives_a_kill_of_verification_at_every_step() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    for failpoint in ["verification.upload.stored", "verification.upload.recorded"] {
        let listener = app.sign_up(UserRole::Listener).await;
        restart(&[&format!("TALKTIME_FAILPOINT={failpoint}")]).await;
        let cut_off = upload(&app, &listener).await;
        assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
        assert_no_record_without_object().await;
        let leaves_an_orphan = failpoint.ends_with("stored");
        assert_eq!(
            count_differences().await.is_some(),
            leaves_an_orphan,
            "{failpoint}"
        );
        wait_until_reconciled().await;
        let again = upload(&app, &listener).await;
        let expected = if failpoint.ends_with("recorded") {
            409
        } else {
            200
        };
        assert_eq!(again.status, expected, "{failpoint}: {again:?}");
    }
    restart(&[]).await;
}

async fn submit_photo(app: &TestApp, person: &AppUser, upload_id: &Value) -> ApiAnswer {
    let request = app.post("/users/me/photo").as_user(person);
    request
        .json(&json!({"upload_id": upload_id}))
        .answer()
        .await
}

#[tokio::test]
async fn a_photo_can_be_submitted_again_after_verification_died() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let file = photo::encode(300, 300, ImageFormat::Png);
    let request = app.post("/users/me/photo-ticket").as_user(&person);
    let body = json!({"length_bytes": file.len(), "content_type": "image/png"});
    let ticket = request.json(&body).answer().await;
    let url = ticket.body["upload_url"].as_str().expect("an address");
    let put = object_store_client().put(url);
    let put = put.header("content-type", "image/png").body(file).send();
    assert_eq!(put.await.expect("answered").status(), 200);

    restart(&["TALKTIME_FAILPOINT=verification.photo.stored"]).await;
    let cut_off = submit_photo(&app, &person, &ticket.body["upload_id"]).await;
    assert_eq!(cut_off.status, 503, "{cut_off:?}");
    assert_no_record_without_object().await;
    restart(&[]).await;
    let again = submit_photo(&app, &person, &ticket.body["upload_id"]).await;
    assert_eq!(again.status, 200, "{again:?}");
    wait_until_reconciled().await;
    restart(&[]).await;
}

#[tokio::test]
async fn concurrent_uploads_survive_a_kill_of_verification() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    let mut listeners = Vec::new();
    for _ in 0..12 {
        listeners.push(app.sign_up(UserRole::Listener).await);
    }
    restart(&[]).await;
    let uploads = join_all(listeners.iter().map(|listener| upload(&app, listener)));
    let killed = async {
        // By chance, some uploads are finished, some are under way, and some have not begun.
        tokio::time::sleep(Duration::from_millis(150)).await;
        run_dev(&["kill", "verification"]).await;
    };
    let (answers, ()) = tokio::join!(uploads, killed);
    for answer in &answers {
        assert!([200, 503].contains(&answer.status), "{answer:?}");
    }
    assert_no_record_without_object().await;
    wait_until_reconciled().await;
    for (listener, answer) in listeners.iter().zip(&answers) {
        // A gateway needs a moment to notice that the service is back.
        let status = wait_for("the service to answer", || async {
            let status = app
                .get("/verification/status")
                .as_user(listener)
                .answer()
                .await;
            (status.status == 200).then_some(status)
        })
        .await;
        let count = status.body["verification_count"].as_i64();
        assert!(answer.status != 200 || count == Some(1), "{status:?}");
    }
    restart(&[]).await;
}

#[tokio::test]
async fn samples_of_deleted_listeners_are_removed() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    // This precedes the deletion, because an event during a restart waits for its next delivery.
    restart(&[GRACE, EVERY]).await;
    let listener = app.sign_up(UserRole::Listener).await;
    let taken = upload(&app, &listener).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let address = taken.body["audio_url"].as_str().expect("an address");
    let deleted = app.delete("/users/me").as_user(&listener).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    wait_for("the object to be gone", || async {
        let fetched = object_store_client().get(address).send().await;
        let fetched = fetched.expect("the store answers");
        (fetched.status() == 404).then_some(())
    })
    .await;
    restart(&[]).await;
}

#[tokio::test]
async fn nothing_is_recorded_while_the_store_is_down() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    run_dev(&["kill", "s3"]).await;
    let refused = upload(&app, &listener).await;
    assert_eq!(
        (refused.status, refused.code()),
        (503, "storage_unavailable")
    );
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    // Requests that need no audio succeed.
    let status = app
        .get("/verification/status")
        .as_user(&listener)
        .answer()
        .await;
    assert_eq!(status.body["verification_count"], 0, "{status:?}");
    run_dev(&["start", "s3"]).await;
    let taken = upload(&app, &listener).await;
    assert_eq!(taken.status, 200, "{taken:?}");
}

#[tokio::test]
async fn unverified_listeners_are_hidden_and_refused_where_verification_is_required() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    let require = "TALKTIME_PROFILE__REQUIRE_VERIFIED_LISTENERS=true";
    run_dev(&["restart", "profile", "--no-build", "--env", require]).await;
    let is_shown = || async {
        let path = "/feed/listeners?sort_by=recent&per_page=100";
        let feed = pair.app.get(path).as_user(&pair.caller).answer().await;
        let listeners = feed.body["listeners"].as_array().cloned();
        let id = pair.listener.user_id;
        let mut listeners = listeners.unwrap_or_default().into_iter();
        feed.status == 200 && listeners.any(|listener| listener["user_id"] == id)
    };
    assert!(!is_shown().await);
    let refused = wait_for("an answer", || async {
        let answer = pair.request_call().await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "listener_not_verified")
    );

    run_dev(&["grant-admin", &pair.caller.phone]).await;
    let sample = upload(&pair.app, &pair.listener).await;
    let decide = |path: &'static str, body: serde_json::Value| {
        pair.app
            .post(path)
            .as_user(&pair.caller)
            .json(&body)
            .answer()
    };
    let id = &sample.body["verification_id"];
    let body = json!({"verification_id": id, "action": "approve"});
    let approved = decide("/admin/verification/review", body).await;
    assert_eq!(approved.status, 200, "{approved:?}");
    wait_for("the listener to be shown", || async {
        is_shown().await.then_some(())
    })
    .await;
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);

    let body = json!({"user_id": pair.listener.user_id});
    let revoked = decide("/admin/verification/revoke", body).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    wait_for("the listener to be hidden", || async {
        (!is_shown().await).then_some(())
    })
    .await;
    assert_eq!(pair.request_call().await.code(), "listener_not_verified");
    run_dev(&["restart", "profile", "--no-build"]).await;
}

/// Concurrent uploads and their size; in memory they would take 400 MiB.
const UPLOADS: usize = 50;
const UPLOAD_BYTES: usize = 8 * 1024 * 1024;
/// Time limit of the gateway for an upload, since on a small machine all take as long as the slowest.
const UPLOADS_TIMEOUT: Duration = Duration::from_mins(1);
/// Permitted growth of a process: buffers of 3 MiB for each upload, however large the files are.
const GROWTH_KIB_MAX: u64 = 150 * 1024;

/// The resident memory of a process.
#[cfg(target_os = "linux")]
struct ProcessMemory {
    current_kib: u64,
    peak_kib: u64,
}

#[cfg(target_os = "linux")]
async fn read_memory(service: &str) -> ProcessMemory {
    let variables = run_dev(&["env"]).await;
    let name = format!("{}_PID=", service.to_uppercase());
    let pid = variables.lines().find_map(|line| line.strip_prefix(&name));
    let path = format!("/proc/{}/status", pid.expect("it runs"));
    let status = std::fs::read_to_string(path).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.expect("the kernel says it")
    };
    ProcessMemory {
        current_kib: field("VmRSS:"),
        peak_kib: field("VmHWM:"),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn fifty_uploads_at_once_are_not_held_in_memory() {
    let _stack = lock_stack().await;
    let app = talktime_tests::connect_app().await;
    let listeners = join_all((0..UPLOADS).map(|_| app.sign_up(UserRole::Listener))).await;
    restart(&[]).await;
    run_dev(&["restart", "gateway", "--no-build"]).await;
    let services = ["gateway", "verification"];
    let before = join_all(services.map(read_memory)).await;

    // One minute of audio, and a chunk that players skip.
    let mut file = audio::wav(60);
    file.resize(UPLOAD_BYTES, 0);
    let body: &'static [u8] = form("sample.wav", &file, None).leak();
    let started_at = Instant::now();
    let http = reqwest::Client::builder().timeout(UPLOADS_TIMEOUT);
    let http = http.build().expect("valid settings");
    let url = app.gateway_url().to_owned() + "/verification/upload-audio-file";
    let answers = join_all(listeners.iter().map(|listener| {
        let request = http.post(&url).bearer_auth(&listener.access_token);
        request.header("content-type", FORM_TYPE).body(body).send()
    }))
    .await;
    for answer in answers {
        assert_eq!(answer.expect("answered").status(), 200);
    }
    println!("{UPLOADS} uploads at once took {:?}", started_at.elapsed());
    for (service, before) in services.into_iter().zip(before) {
        let (before_kib, peak_kib) = (before.current_kib, read_memory(service).await.peak_kib);
        println!("{service}: {before_kib} KiB before, {peak_kib} KiB at the highest");
        let growth = peak_kib.saturating_sub(before_kib);
        assert!(growth < GROWTH_KIB_MAX, "{service}: {growth} KiB more");
    }
}
