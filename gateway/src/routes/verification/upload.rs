//! A sample on its way from the client to verification, piece by piece: the gateway never holds more
//! than a few pieces of it.

use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, State};
use futures::SinkExt;
use futures::channel::mpsc::{self, Sender};
use http::StatusCode;
use talktime_kit::error::FieldError;
use talktime_kit::{Error, Kind};
use talktime_proto::verification::v1::upload_audio_request::Part;
use talktime_proto::verification::v1::{UploadAudioRequest, UploadFinish, UploadStart};
use utoipa::ToSchema;

use super::{SubmittedAnswer, patient};
use crate::clients::VerificationClient;
use crate::extract::{Json, ListenerUser};
use crate::problem::Result;
use crate::token::CurrentUser;

/// The largest sample and what a form has around it. How large a sample may be is verification's to
/// say; this keeps the rest of a hostile body out.
pub(in crate::routes) const BODY_BYTES_MAX: usize = 10 * 1024 * 1024 + 64 * 1024;

const AUDIO: &str = "audio_file";
const DESCRIPTION: &str = "description";
/// Verification counts characters; no 500 of them have more bytes, even where each comes as a letter and
/// its marks.
const DESCRIPTION_BYTES_MAX: usize = 8_000;
const PIECES_QUEUED_MAX: usize = 1;
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The form, as the document describes it.
#[derive(ToSchema)]
#[schema(as = VerificationAudioForm)]
#[expect(dead_code, reason = "forms are read piece by piece, never as a whole")]
struct AudioForm {
    #[schema(value_type = String, format = Binary)]
    audio_file: Vec<u8>,
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// Submits an audio sample as a file: MP3, WAV, M4A or AAC, 30 seconds to 5 minutes, at most 10 MB.
#[utoipa::path(
    post,
    path = "/verification/upload-audio-file",
    tag = "verification",
    security(("access_token" = ["listener"])),
    request_body(content = AudioForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = SubmittedAnswer),
        (status = 400, description = "empty_audio, unsupported_audio, damaged_audio, invalid_audio_duration, incomplete_upload, unreadable_body, text_too_long, invalid_description"),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "verification_pending"),
        (status = 413, description = "audio_too_large"),
    )
)]
pub(in crate::routes) async fn file(
    State(mut verification): State<VerificationClient>,
    current_user: CurrentUser,
    listener: Result<ListenerUser>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<SubmittedAnswer>> {
    let user_id = current_user.user_id;
    if let Err(refusal) = listener {
        // A client hears the refusal of a file once it has sent it.
        if let Ok(form) = form {
            let _ = send(form, Pieces(None), user_id).await;
        }
        return Err(refusal);
    }
    let form = form.map_err(not_a_form)?;
    let (pieces, queue) = mpsc::channel(PIECES_QUEUED_MAX);
    let request = patient(queue);
    let (sent, answered) = tokio::join!(
        send(form, Pieces(Some(pieces)), user_id),
        verification.upload_audio(request)
    );
    // A form that broke off is answered before what verification made of half of it.
    sent?;
    Ok(Json(answered?.into_inner().into()))
}

/// The way to verification, until it has heard enough.
struct Pieces(Option<Sender<UploadAudioRequest>>);

impl Pieces {
    /// Sends a part. One that has refused takes no more; what follows is read and dropped, since a
    /// client that is writing sees our answer only when it has written.
    async fn send(&mut self, part: Part) {
        let message = UploadAudioRequest { part: Some(part) };
        if let Some(sender) = &mut self.0
            && sender.send(message).await.is_err()
        {
            self.0 = None;
        }
    }
}

/// Reads the form. Without an error, either all of it was sent or verification has refused it.
async fn send(mut form: Multipart, mut pieces: Pieces, user_id: i64) -> Result<(), Error> {
    pieces.send(Part::Start(UploadStart { user_id })).await;
    let mut has_audio = false;
    let mut description = None;
    while let Some(mut field) = form.next_field().await.map_err(unreadable)? {
        match field.name() {
            Some(AUDIO) if has_audio => return Err(wrong_field("is given twice")),
            Some(AUDIO) => {
                has_audio = true;
                send_audio(&mut field, &mut pieces).await?;
            }
            Some(DESCRIPTION) => description = Some(read_description(&mut field).await?),
            _ => {}
        }
    }
    if !has_audio {
        return Err(wrong_field("is missing"));
    }
    pieces
        .send(Part::Finish(UploadFinish { description }))
        .await;
    Ok(())
}

async fn send_audio(field: &mut Field<'_>, pieces: &mut Pieces) -> Result<(), Error> {
    while let Some(chunk) = field.chunk().await.map_err(unreadable)? {
        for piece in chunk.chunks(PIECE_BYTES_MAX) {
            pieces.send(Part::Chunk(piece.to_vec())).await;
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
        Kind::UnsupportedMediaType,
        "unsupported_media_type",
        "The body must be multipart/form-data with a boundary.",
    )
}

fn unreadable(error: MultipartError) -> Error {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = "An audio sample has at most 10 MB.";
        return Error::new(Kind::TooLarge, "audio_too_large", detail);
    }
    Error::invalid("unreadable_body", "The form could not be read to its end.").with_source(error)
}

fn wrong_field(message: &str) -> Error {
    Error::new(
        Kind::Unprocessable,
        "invalid_body",
        "The form is not what this endpoint takes; see errors.",
    )
    .with_fields(vec![FieldError {
        field: AUDIO.to_owned(),
        message: message.to_owned(),
    }])
}
