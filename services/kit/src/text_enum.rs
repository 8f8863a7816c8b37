//! Text forms of enums.

/// Implements the conversions of an enum from and to the names that the database and the wire use.
#[macro_export]
macro_rules! text_enum {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(name: String) -> Result<Self, String> {
                Self::from_name(&name).ok_or(name)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, reason = "the macro is for public enums")]

    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum CallType {
        Audio,
        Video,
    }

    text_enum!(CallType { Audio => "audio", Video => "video" });

    #[test]
    fn every_variant_has_one_name() {
        assert_eq!(CallType::ALL, [CallType::Audio, CallType::Video]);
        for call_type in CallType::ALL {
            assert_eq!(CallType::from_name(call_type.name()), Some(call_type));
        }
    }

    #[test]
    fn an_unknown_name_is_returned_as_the_error() {
        assert_eq!(CallType::from_name("fax"), None);
        assert_eq!(CallType::try_from("fax".to_owned()), Err("fax".to_owned()));
    }
}
