//! The user whom a request names as the one who acts, read from the encoded message. So the comparison with the user's
//! token is made in one place for all methods, and no handler can forget it.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::Error;

/// The frame before a message: a flag for compression, and its length in four bytes.
const FRAME_BYTES: usize = 5;
/// Greatest length of a message; the servers' decoders accept no longer ones either.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads the first message of a body. Returns it, and a body that begins with it again.
///
/// # Errors
/// The body ends before the message does, or the message is compressed or too long.
pub(super) async fn read_first_message(body: Body) -> Result<(Bytes, Body), Error> {
    let mut rest = body.into_data_stream();
    let mut received = BytesMut::new();
    let end = loop {
        if let Some(end) = find_end(&received)?
            && received.len() >= end
        {
            break end;
        }
        let chunk = rest.try_next().await.map_err(|_| invalid_message())?;
        received.extend_from_slice(&chunk.ok_or_else(invalid_message)?);
    };
    let received = received.freeze();
    let message = received.slice(FRAME_BYTES..end);
    let again = stream::iter([Ok(received)]).chain(rest);
    Ok((message, Body::from_stream(again)))
}

/// Returns where the first message ends, once its frame has arrived.
fn find_end(received: &[u8]) -> Result<Option<usize>, Error> {
    let Some((frame, _)) = received.split_first_chunk::<FRAME_BYTES>() else {
        return Ok(None);
    };
    let [is_compressed, length @ ..] = *frame;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| invalid_message())?;
    if is_compressed != 0 || length > MESSAGE_BYTES_MAX {
        return Err(invalid_message());
    }
    Ok(Some(FRAME_BYTES + length))
}

/// Returns whether the field at this path names the user, and nowhere in the message anybody else. A decoder takes the last
/// one of repeated values; requiring all of them to be the same leaves nothing to disagree about.
///
/// # Errors
/// The message is not valid; a decoder refuses it as well.
pub(super) fn names_user(message: &[u8], path: &[u32], user_id: i64) -> Result<bool, Error> {
    let mut named = Vec::new();
    collect_users(message, path, &mut named).map_err(|_| invalid_message())?;
    Ok(!named.is_empty() && named.iter().all(|named| *named == user_id))
}

fn collect_users(
    mut message: &[u8],
    path: &[u32],
    named: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    let Some((wanted, inner_path)) = path.split_first() else {
        return Ok(());
    };
    while !message.is_empty() {
        let (field, wire_type) = decode_key(&mut message)?;
        match wire_type {
            WireType::Varint if field == *wanted && inner_path.is_empty() => {
                named.push(decode_varint(&mut message)?.cast_signed());
            }
            WireType::LengthDelimited if field == *wanted && !inner_path.is_empty() => {
                let inner = take_delimited(&mut message)?;
                collect_users(inner, inner_path, named)?;
            }
            _ => skip_field(wire_type, field, &mut message, DecodeContext::default())?,
        }
    }
    Ok(())
}

fn take_delimited<'a>(message: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let mut ahead = *message;
    let length = usize::try_from(decode_varint(&mut ahead)?).unwrap_or(usize::MAX);
    let Some((inner, rest)) = ahead.split_at_checked(length) else {
        // Fails with the error of a field that is cut short.
        skip_field(
            WireType::LengthDelimited,
            1,
            message,
            DecodeContext::default(),
        )?;
        return Ok(&[]);
    };
    *message = rest;
    Ok(inner)
}

fn invalid_message() -> Error {
    Error::invalid("invalid_message", "The request is not valid.")
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use talktime_proto::verification::v1::upload_audio_request::Part;
    use talktime_proto::verification::v1::{UploadAudioRequest, UploadStart};
    use talktime_proto::wallet::v1::{DecideWithdrawalRequest, WithdrawRequest};

    use super::*;

    fn withdrawal_of(user_id: i64) -> Vec<u8> {
        let request = WithdrawRequest {
            user_id,
            amount_paise: 7,
            idempotency_key: Some("7".to_owned()),
        };
        request.encode_to_vec()
    }

    fn names(message: &[u8], path: &[u32], user_id: i64) -> bool {
        names_user(message, path, user_id).expect("valid")
    }

    #[test]
    fn the_user_is_found_at_the_top_and_in_a_part() {
        assert!(names(&withdrawal_of(7), &[1], 7));
        assert!(names(&withdrawal_of(i64::MAX), &[1], i64::MAX));
        assert!(!names(&withdrawal_of(8), &[1], 7), "another user");
        let decision = DecideWithdrawalRequest {
            withdrawal_id: 7,
            admin_id: 8,
            ..DecideWithdrawalRequest::default()
        };
        let decision = decision.encode_to_vec();
        assert!(names(&decision, &[2], 8) && !names(&decision, &[2], 7));
        let start = UploadAudioRequest {
            part: Some(Part::Start(UploadStart { user_id: 7 })),
        };
        assert!(names(&start.encode_to_vec(), &[1, 1], 7));
        let chunk = UploadAudioRequest {
            part: Some(Part::Chunk(vec![8, 7])),
        };
        assert!(!names(&chunk.encode_to_vec(), &[1, 1], 7));
    }

    #[test]
    fn a_message_without_the_user_names_nobody() {
        assert!(!names(&withdrawal_of(0), &[1], 0));
        assert!(!names(&[], &[1], 0));
    }

    #[test]
    fn a_message_that_names_two_users_names_neither() {
        let both = [withdrawal_of(7), withdrawal_of(8)].concat();
        let decoded = WithdrawRequest::decode(both.as_slice()).expect("valid");
        assert_eq!(decoded.user_id, 8, "a decoder takes the last one");
        assert!(!names(&both, &[1], 7) && !names(&both, &[1], 8));
    }

    #[test]
    fn an_invalid_message_is_refused() {
        for invalid in [&[0x08][..], &[0x08, 0xff], &[0x0a, 0x05, 0x01], &[0x07]] {
            let refused = names_user(invalid, &[1], 7).expect_err("invalid");
            assert_eq!(refused.code(), "invalid_message", "{invalid:?}");
            assert!(names_user(invalid, &[1, 1], 7).is_err(), "{invalid:?}");
        }
    }

    async fn read(chunks: &[&[u8]]) -> Result<(Bytes, Bytes), String> {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, Error>(chunk.to_vec()))
            .collect();
        let body = Body::from_stream(stream::iter(chunks));
        let read = read_first_message(body).await;
        let (message, body) = read.map_err(|error| error.code().to_owned())?;
        let whole = axum::body::to_bytes(body, usize::MAX).await.expect("whole");
        Ok((message, whole))
    }

    #[tokio::test]
    async fn the_first_message_is_read_and_kept_however_it_arrives() {
        let whole = b"\0\0\0\0\x02hi\0\0\0\0\x01!";
        let expected = Ok((Bytes::from_static(b"hi"), Bytes::from_static(whole)));
        assert_eq!(read(&[whole]).await, expected);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&bytes).await, expected);
    }

    #[tokio::test]
    async fn a_message_that_is_cut_short_compressed_or_too_long_is_refused() {
        let refused = Err("invalid_message".to_owned());
        assert_eq!(read(&[]).await, refused);
        assert_eq!(read(&[b"\0\0\0\0\x02h"]).await, refused);
        assert_eq!(read(&[b"\x01\0\0\0\x02hi"]).await, refused);
        assert_eq!(read(&[b"\0\xff\xff\xff\xff"]).await, refused);
    }
}
