//! Presence dies: signs of life that were answered are kept, and the silent are still noticed.

mod heartbeats;
mod sweep;

use talktime_client::{Person, Role};
use talktime_tests::{TestApp, variable};

fn database() -> String {
    variable("PRESENCE_APP_DATABASE_URL")
}

async fn sign_up(app: &TestApp, people: usize) -> Vec<Person> {
    let mut signed_up = Vec::with_capacity(people);
    for _ in 0..people {
        signed_up.push(app.sign_up(Role::Listener).await);
    }
    signed_up
}
