//! Text form of enums in the database and on the wire.

/// Implements the conversions of an enum from and to text.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// Text form in the database and on the wire.
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
