//! The type of a call, which sets its price.

use talktime_kit::text_enum;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallType {
    Audio,
    Video,
}

text_enum!(CallType { Audio => "audio", Video => "video" });
