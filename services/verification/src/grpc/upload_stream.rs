//! Reads the stream of an upload.

use talktime_proto::verification::v1 as pb;
use talktime_proto::verification::v1::upload_audio_request::Part;
use tonic::Streaming;

use crate::domain::{AudioSample, VerificationError};
use crate::service::AudioSampleService;

/// Reads an upload to its end and submits the sample.
pub(super) async fn receive_upload(
    samples: &AudioSampleService,
    mut parts: Streaming<pb::UploadAudioRequest>,
) -> Result<AudioSample, VerificationError> {
    let Part::Start(start) = read_part(&mut parts).await? else {
        return Err(VerificationError::IncompleteUpload);
    };
    let user_id = start.user_id;
    let mut upload = samples.begin_upload(user_id).await?;
    loop {
        match read_part(&mut parts).await? {
            Part::Chunk(chunk) => upload.write(&chunk).await?,
            Part::Finish(finish) => {
                return samples
                    .finish_upload(user_id, upload, finish.description)
                    .await;
            }
            Part::Start(_) => return Err(VerificationError::IncompleteUpload),
        }
    }
}

/// Reads the next part. A stream that fails, or that ends before its last part, is incomplete.
async fn read_part(
    parts: &mut Streaming<pb::UploadAudioRequest>,
) -> Result<Part, VerificationError> {
    let message = parts.message().await;
    let message = message.map_err(|_| VerificationError::IncompleteUpload)?;
    message
        .and_then(|message| message.part)
        .ok_or(VerificationError::IncompleteUpload)
}
