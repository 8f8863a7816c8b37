//! Enums as they stand in the database and on the wire.

/// Implements the words of an enum.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word for it in the database and on the wire.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(word: String) -> Result<Self, String> {
                match word.as_str() { $($word => Ok(Self::$variant),)+ _ => Err(word) }
            }
        }
    };
}

pub(crate) use words;
