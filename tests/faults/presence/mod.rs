//! Kills of presence: acknowledged heartbeats are kept, and silent users still become offline.

mod heartbeats;
mod sweep;

use talktime_client::{AppUser, UserRole};
use talktime_tests::{TestApp, read_variable};

fn database_url() -> String {
    read_variable("PRESENCE_APP_DATABASE_URL")
}

async fn sign_up_many(app: &TestApp, people: usize) -> Vec<AppUser> {
    let mut signed_up = Vec::with_capacity(people);
    for _ in 0..people {
        signed_up.push(app.sign_up(UserRole::Listener).await);
    }
    signed_up
}
