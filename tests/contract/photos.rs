//! Photos of users: upload, review, and the public address.

use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::photo::{encode, jpeg_with_exif};
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX, object_store_client, wait_for};

use crate::assert_problem;

/// Uploads a file with a ticket for this type, and returns the id of the upload.
async fn upload(app: &TestApp, person: &AppUser, content_type: &str, file: Vec<u8>) -> Value {
    let request = app.post("/users/me/photo-ticket").as_user(person);
    let body = json!({"length_bytes": file.len(), "content_type": content_type});
    let ticket = request.json(&body).answer().await;
    assert_eq!(ticket.status, 200, "{ticket:?}");
    assert_eq!(ticket.body["method"], "PUT");
    let url = ticket.body["upload_url"].as_str().expect("an address");
    let put = object_store_client().put(url);
    let put = put.header("content-type", content_type).body(file).send();
    assert_eq!(put.await.expect("the store answers").status(), 200);
    ticket.body["upload_id"].clone()
}

async fn submit(app: &TestApp, person: &AppUser, upload_id: &Value) -> ApiAnswer {
    let request = app.post("/users/me/photo").as_user(person);
    request
        .json(&json!({"upload_id": upload_id}))
        .answer()
        .await
}

/// Uploads and submits a file, and returns the id of the photo.
async fn submit_photo(app: &TestApp, person: &AppUser, file: Vec<u8>) -> Value {
    let upload_id = upload(app, person, "image/jpeg", file).await;
    let submitted = submit(app, person, &upload_id).await;
    assert_eq!(submitted.status, 200, "{submitted:?}");
    assert_eq!(submitted.body["status"], "pending");
    submitted.body["photo_id"].clone()
}

async fn review(app: &TestApp, admin: &AppUser, photo_id: &Value, action: &str) -> ApiAnswer {
    let request = app.post("/admin/photos/review").as_user(admin);
    let body = json!({"photo_id": photo_id, "action": action, "reviewer_notes": "seen"});
    request.json(&body).answer().await
}

/// Approves a photo and returns its public address.
async fn approve(app: &TestApp, admin: &AppUser, photo_id: &Value) -> String {
    let approved = review(app, admin, photo_id, "approve").await;
    assert_eq!(approved.status, 200, "{approved:?}");
    let url = approved.body["image_url"].as_str().expect("an address");
    url.to_owned()
}

async fn read_own(app: &TestApp, person: &AppUser) -> Value {
    let photos = app.get("/users/me/photo").as_user(person).answer().await;
    assert_eq!(photos.status, 200, "{photos:?}");
    photos.body
}

async fn await_profile_image(app: &TestApp, person: &AppUser, expected: Option<&str>) {
    wait_for("the profile to have the image", || async {
        let me = app.get("/users/me").as_user(person).answer().await;
        (me.body["profile_image_url"].as_str() == expected).then_some(())
    })
    .await;
}

/// The answer of a public address.
struct FetchedImage {
    status: u16,
    /// The decoded image; none if the address was refused.
    image: Option<RgbImage>,
    bytes: Vec<u8>,
}

/// Fetches an address without a token.
async fn fetch_image(url: &str) -> FetchedImage {
    let request = object_store_client().get(url);
    let response = request.send().await.expect("answered");
    let status = response.status().as_u16();
    let bytes = response.bytes().await.expect("a body").to_vec();
    let image = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg);
    FetchedImage {
        status,
        image: image.ok().map(|image| image.to_rgb8()),
        bytes,
    }
}

#[tokio::test]
async fn an_approved_photo_is_the_image_of_its_user() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let mut socket = app.open_socket("/ws/notifications", &person).await;
    let photo_id = submit_photo(&app, &person, encode(900, 600, ImageFormat::Jpeg)).await;
    let pending = &read_own(&app, &person).await["pending"];
    assert_eq!(pending["photo_id"], photo_id);
    let fetched = fetch_image(pending["image_url"].as_str().expect("a url")).await;
    assert_eq!(fetched.status, 200, "the user sees the pending photo");
    assert_eq!(fetched.image.expect("a JPEG").dimensions(), (512, 341));
    await_profile_image(&app, &person, None).await;

    let url = approve(&app, &admin, &photo_id).await;
    await_profile_image(&app, &person, Some(&url)).await;
    let message = socket.receive_type("photo_reviewed", WAIT_MAX).await;
    let message = message.expect("a message");
    assert_eq!(message["data"]["status"], "approved", "{message}");
    assert_eq!(message["data"]["image_url"], *url, "{message}");
    assert_eq!(message["data"]["reviewer_notes"], "seen", "{message}");
    let response = reqwest::get(&url).await.expect("answered");
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "image/jpeg");
    assert_eq!(header("cache-control"), "public, max-age=86400, immutable");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(fetch_image(&url).await.status, 200);
}

#[tokio::test]
async fn a_stored_photo_is_upright_and_has_no_metadata() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let secret = "28.6139 N, 77.2090 E";
    // The orientation 6: the camera was turned by a quarter.
    let file = jpeg_with_exif(800, 400, 6, secret);
    assert!(
        file.windows(secret.len())
            .any(|part| part == secret.as_bytes())
    );
    submit_photo(&app, &person, file).await;
    let photos = read_own(&app, &person).await;
    let url = photos["pending"]["image_url"].as_str().expect("a url");
    let fetched = fetch_image(url).await;
    let image = fetched.image.expect("a JPEG");
    assert_eq!(image.dimensions(), (256, 512));
    let [red, green, _] = image.get_pixel(200, 50).0;
    assert!(red > 200 && green < 60, "the red corner is at the right");
    assert!(
        !fetched
            .bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes())
    );
    assert!(!fetched.bytes.windows(4).any(|part| part == b"Exif"));
}

#[tokio::test]
async fn files_that_are_no_photos_are_refused() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let jpeg = encode(300, 300, ImageFormat::Jpeg);
    let png = encode(300, 300, ImageFormat::Png);
    let followed_by_noise = |head: &[u8]| [head, &[0x5A; 10_000]].concat();
    for (description, content_type, file, code) in [
        (
            "a JPEG sent as PNG",
            "image/png",
            jpeg.clone(),
            "unsupported_photo",
        ),
        (
            "a page",
            "image/jpeg",
            followed_by_noise(b"<!DOCTYPE html>"),
            "unsupported_photo",
        ),
        (
            "a drawing",
            "image/png",
            followed_by_noise(b"<svg xmlns="),
            "unsupported_photo",
        ),
        (
            "half a JPEG",
            "image/jpeg",
            jpeg[..jpeg.len() / 2].to_vec(),
            "damaged_photo",
        ),
        (
            "half a PNG",
            "image/png",
            png[..png.len() / 2].to_vec(),
            "damaged_photo",
        ),
        (
            "noise",
            "image/webp",
            followed_by_noise(b"RIFF\x24\0\0\0WEBPVP8 "),
            "damaged_photo",
        ),
        (
            "a thumbnail",
            "image/png",
            encode(63, 300, ImageFormat::Png),
            "invalid_photo_size",
        ),
    ] {
        let upload_id = upload(&app, &person, content_type, file).await;
        let refused = submit(&app, &person, &upload_id).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, code),
            "{description}: {refused:?}"
        );
    }
    let photos = read_own(&app, &person).await;
    assert_eq!(photos["pending"], Value::Null);
}

#[tokio::test]
async fn a_ticket_is_for_one_user_one_type_and_a_bounded_length() {
    let app = talktime_tests::connect_app().await;
    let (person, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::Listener).await,
    );
    for (length_bytes, content_type, code) in [
        (0, "image/jpeg", "invalid_length_bytes"),
        (10 * 1024 * 1024 + 1, "image/jpeg", "invalid_length_bytes"),
        (1_000, "image/gif", "invalid_content_type"),
        (1_000, "image/svg+xml", "invalid_content_type"),
        (1_000, "audio/wav", "invalid_content_type"),
    ] {
        let request = app.post("/users/me/photo-ticket").as_user(&person);
        let body = json!({"length_bytes": length_bytes, "content_type": content_type});
        assert_problem(&request.json(&body).answer().await, 400, code);
    }
    let file = encode(300, 300, ImageFormat::Png);
    let upload_id = upload(&app, &person, "image/png", file).await;
    let refused = submit(&app, &other, &upload_id).await;
    assert_problem(&refused, 404, "upload_not_found");
    assert_eq!(submit(&app, &person, &upload_id).await.status, 200);
    for unknown in ["", "x", "../8/00000000000000000000000000000000.png"] {
        let refused = submit(&app, &person, &json!(unknown)).await;
        assert_problem(&refused, 404, "upload_not_found");
    }
}

#[tokio::test]
async fn a_new_photo_replaces_the_pending_one_and_then_the_approved_one() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let photo = || encode(300, 300, ImageFormat::Jpeg);
    let first = submit_photo(&app, &person, photo()).await;
    let second = submit_photo(&app, &person, photo()).await;
    let replaced = review(&app, &admin, &first, "approve").await;
    assert_problem(&replaced, 404, "photo_not_found");
    let second_url = approve(&app, &admin, &second).await;
    await_profile_image(&app, &person, Some(&second_url)).await;

    let third = submit_photo(&app, &person, photo()).await;
    assert_eq!(
        fetch_image(&second_url).await.status,
        200,
        "until the approval"
    );
    let third_url = approve(&app, &admin, &third).await;
    await_profile_image(&app, &person, Some(&third_url)).await;
    assert_eq!(fetch_image(&second_url).await.status, 404);
    let photos = read_own(&app, &person).await;
    assert_eq!(photos["approved"]["photo_id"], third);
    assert_eq!(photos["pending"], Value::Null);
}

#[tokio::test]
async fn a_rejected_photo_is_shown_to_nobody() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let photo_id = submit_photo(&app, &person, encode(300, 300, ImageFormat::Jpeg)).await;
    let url = approve(&app, &admin, &photo_id).await;
    await_profile_image(&app, &person, Some(&url)).await;
    let again = review(&app, &admin, &photo_id, "approve").await;
    assert_problem(&again, 409, "already_reviewed");

    let rejected = review(&app, &admin, &photo_id, "reject").await;
    assert_eq!(rejected.status, 200, "{rejected:?}");
    assert_eq!(rejected.body["image_url"], Value::Null);
    await_profile_image(&app, &person, None).await;
    assert_eq!(fetch_image(&url).await.status, 404);
    let photos = read_own(&app, &person).await;
    assert_eq!(photos["rejected"]["reviewer_notes"], "seen");
    let again = review(&app, &admin, &photo_id, "reject").await;
    assert_problem(&again, 409, "already_reviewed");
}

#[tokio::test]
async fn only_admins_see_and_review_pending_photos() {
    let app = talktime_tests::connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let photo_id = submit_photo(&app, &person, encode(300, 300, ImageFormat::Jpeg)).await;
    let queue = app
        .get("/admin/photos/pending")
        .as_user(&person)
        .answer()
        .await;
    assert_problem(&queue, 403, "admin_only");
    let refused = review(&app, &person, &photo_id, "approve").await;
    assert_problem(&refused, 403, "admin_only");

    let mut found = None;
    for page in 1..100 {
        let path = format!("/admin/photos/pending?page={page}&per_page=100");
        let queue = app.get(&path).as_user(&admin).answer().await;
        assert_eq!(queue.status, 200, "{queue:?}");
        let entries = queue.body["pending_photos"].as_array().expect("a list");
        let entry = entries.iter().find(|entry| entry["photo_id"] == photo_id);
        found = entry.cloned();
        if found.is_some() || queue.body["has_next"] == false {
            break;
        }
    }
    let entry = found.expect("the photo is pending");
    assert_eq!(entry["username"], person.username);
    let fetched = fetch_image(entry["image_url"].as_str().expect("a url")).await;
    assert_eq!(fetched.status, 200);
    let unknown = review(&app, &admin, &json!(i64::MAX), "approve").await;
    assert_problem(&unknown, 404, "photo_not_found");
    let invalid = review(&app, &admin, &photo_id, "maybe").await;
    assert_problem(&invalid, 400, "invalid_action");
}

#[tokio::test]
async fn photos_are_deleted_on_request_and_with_the_account() {
    let app = talktime_tests::connect_app().await;
    let admin = app.sign_up_admin().await;
    for path in ["/users/me/photo", "/users/me"] {
        let person = app.sign_up(UserRole::User).await;
        let photo_id = submit_photo(&app, &person, encode(300, 300, ImageFormat::Jpeg)).await;
        let url = approve(&app, &admin, &photo_id).await;
        await_profile_image(&app, &person, Some(&url)).await;
        let deleted = app.delete(path).as_user(&person).answer().await;
        assert_eq!(deleted.status, 200, "{path}: {deleted:?}");
        wait_for("the photo to be gone", || async {
            (fetch_image(&url).await.status == 404).then_some(())
        })
        .await;
        if path == "/users/me/photo" {
            await_profile_image(&app, &person, None).await;
        }
    }
}

#[tokio::test]
async fn an_unknown_photo_is_not_found() {
    let app = talktime_tests::connect_app().await;
    for key in ["x", "%FF", "00000000000000000000000000000000"] {
        let answer = app.get(&format!("/photos/{key}")).answer().await;
        assert_problem(&answer, 404, "photo_not_found");
    }
}
