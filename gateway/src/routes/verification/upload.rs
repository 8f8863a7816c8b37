//! The upload of an audio sample through the gateway, which forwards it in chunks and never stores all of it.

use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, State};
use futures::SinkExt;
use futures::channel::mpsc::{self, Sender};
use http::StatusCode;
use talktime_kit::error::FieldError;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::verification::v1::upload_audio_request::Part;
use talktime_proto::verification::v1::{UploadAudioRequest, UploadFinish, UploadStart};
use utoipa::ToSchema;

use super::{VerificationSubmittedAnswer, without_short_deadline};
use crate::clients::VerificationClient;
use crate::extract::{Json, ListenerUser};
use crate::problem::Result;
use crate::token::CurrentUser;

/// The largest sample with its form. Verification checks the size of the sample; this bounds hostile bodies.
pub(in crate::routes) const BODY_BYTES_MAX: usize = 10 * 1024 * 1024 + 64 * 1024;

const AUDIO: &str = "audio_file";
const DESCRIPTION: &str = "description";
/// More bytes than 500 characters can have, even with combining marks. Verification counts the characters.
const DESCRIPTION_BYTES_MAX: usize = 8_000;
const CHUNKS_QUEUED_MAX: usize = 1;
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The form with the audio sample.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read in chunks")]
struct VerificationAudioForm {
    #[schema(value_type = String, format = Binary)]
    audio_file: Vec<u8>,
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// Submit an audio sample as a file.
///
/// The sample is an MP3, WAV, M4A or AAC file (`unsupported_audio`). It lasts from 30 seconds to 5 minutes
/// (`invalid_audio_duration`) and has at most 10 MB (`audio_too_large`).
#[utoipa::path(
    post,
    path = "/verification/upload-audio-file",
    tag = "verification",
    security(("access_token" = ["listener"])),
    request_body(content = VerificationAudioForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = VerificationSubmittedAnswer),
        (status = 400, description = "empty_audio, unsupported_audio, damaged_audio, invalid_audio_duration, incomplete_upload, unreadable_body, text_too_long, invalid_description"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "verification_pending"),
        (status = 413, description = "audio_too_large"),
    )
)]
pub(in crate::routes) async fn upload_audio_file(
    State(mut verification): State<VerificationClient>,
    current_user: CurrentUser,
    listener: Result<ListenerUser>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<VerificationSubmittedAnswer>> {
    let user_id = current_user.user_id;
    if let Err(refusal) = listener {
        // Most clients read the refusal only after they have sent the file.
        if let Ok(form) = form {
            let _ = send_form(form, AudioPartSender(None), user_id).await;
        }
        return Err(refusal);
    }
    let form = form.map_err(not_a_form)?;
    let (chunks, queue) = mpsc::channel(CHUNKS_QUEUED_MAX);
    let request = without_short_deadline(queue);
    let (sent, answered) = tokio::join!(
        send_form(form, AudioPartSender(Some(chunks)), user_id),
        verification.upload_audio(request)
    );
    // The error of an incomplete form takes precedence over the answer to its first part.
    sent?;
    Ok(Json(answered?.into_inner().into()))
}

/// Sends the parts of a sample to verification, until verification refuses it.
struct AudioPartSender(Option<Sender<UploadAudioRequest>>);

impl AudioPartSender {
    /// Sends a part. After a refusal the following parts are dropped, because most clients read the answer only after
    /// they have sent everything.
    async fn send(&mut self, part: Part) {
        let message = UploadAudioRequest { part: Some(part) };
        if let Some(sender) = &mut self.0
            && sender.send(message).await.is_err()
        {
            self.0 = None;
        }
    }
}

/// Reads the form and forwards it. Succeeds if everything was sent or verification has refused it.
async fn send_form(
    mut form: Multipart,
    mut sender: AudioPartSender,
    user_id: i64,
) -> Result<(), Error> {
    sender.send(Part::Start(UploadStart { user_id })).await;
    let mut has_audio = false;
    let mut description = None;
    while let Some(mut field) = form.next_field().await.map_err(unreadable)? {
        match field.name() {
            Some(AUDIO) if has_audio => return Err(wrong_field("is given twice")),
            Some(AUDIO) => {
                has_audio = true;
                send_audio(&mut field, &mut sender).await?;
            }
            Some(DESCRIPTION) => description = Some(read_description(&mut field).await?),
            _ => {}
        }
    }
    if !has_audio {
        return Err(wrong_field("is missing"));
    }
    sender
        .send(Part::Finish(UploadFinish { description }))
        .await;
    Ok(())
}

async fn send_audio(field: &mut Field<'_>, sender: &mut AudioPartSender) -> Result<(), Error> {
    while let Some(chunk) = field.chunk().await.map_err(unreadable)? {
        for part in chunk.chunks(CHUNK_BYTES_MAX) {
            sender.send(Part::Chunk(part.to_vec())).await;
        }
    }
    Ok(())
}

async fn read_description(field: &mut Field<'_>) -> Result<String, Error> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(unreadable)? {
        text.extend_from_slice(&chunk);
        if text.len() > DESCRIPTION_BYTES_MAX {
            let detail = "description must have at most 500 characters.";
            return Err(Error::invalid("text_too_long", detail));
        }
    }
    String::from_utf8(text)
        .map_err(|_| Error::invalid("invalid_description", "description must be UTF-8."))
}

fn not_a_form(_: MultipartRejection) -> Error {
    Error::new(
        ErrorKind::UnsupportedMediaType,
        "unsupported_media_type",
        "The body must be multipart/form-data with a boundary.",
    )
}

fn unreadable(error: MultipartError) -> Error {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = "An audio sample has at most 10 MB.";
        return Error::new(ErrorKind::TooLarge, "audio_too_large", detail);
    }
    Error::invalid("unreadable_body", "The form is incomplete.").with_source(error)
}

fn wrong_field(message: &str) -> Error {
    Error::new(
        ErrorKind::Unprocessable,
        "invalid_body",
        "The form is not valid for this endpoint; see errors.",
    )
    .with_fields(vec![FieldError {
        field: AUDIO.to_owned(),
        message: message.to_owned(),
    }])
}
