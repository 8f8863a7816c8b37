//! Shared by the tests of the store: Redis, and names that no other test uses.

use secrecy::SecretString;
use talktime_auth::domain::PhoneNumber;
use talktime_auth::domain::claims::UserSession;
use talktime_kit::config::RedisConfig;
use talktime_kit::redis::{self, Pool};
use uuid::Uuid;

/// Redis of the stack that `cargo dev test` brings up.
pub(crate) fn redis() -> Pool {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `cargo dev test`");
    let url = SecretString::from(url);
    redis::connect(&RedisConfig { url }).expect("a Redis URL")
}

/// A phone that no other test has.
pub(crate) fn phone() -> PhoneNumber {
    let random = Uuid::new_v4().as_u128() % 1_000_000_000;
    PhoneNumber::parse(&format!("+919{random:09}"))
        .expect("every Indian number with a 9 is a mobile")
}

/// A session of a user that no other test has.
pub(crate) fn session() -> UserSession {
    let [high, low] = [Uuid::new_v4(), Uuid::new_v4()];
    UserSession {
        user_id: i64::try_from(high.as_u128() % (1 << 62)).expect("62 bits"),
        session_id: low,
    }
}
