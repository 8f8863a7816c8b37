//! The type of a call, which sets its price.

use super::words::words;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallType {
    Audio,
    Video,
}

words!(CallType { Audio => "audio", Video => "video" });
