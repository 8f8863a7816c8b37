//! Decoding of enums from columns of text that may be null.

macro_rules! decode_text {
    ($type:ident) => {
        impl sqlx::Type<sqlx::Postgres> for $type {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <String as sqlx::Type<sqlx::Postgres>>::type_info()
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $type {
            fn decode(
                value: sqlx::postgres::PgValueRef<'r>,
            ) -> Result<Self, sqlx::error::BoxDynError> {
                let name = <String as sqlx::Decode<'r, sqlx::Postgres>>::decode(value)?;
                Self::try_from(name).map_err(|name| format!("unknown name {name:?}").into())
            }
        }
    };
}

pub(crate) use decode_text;
