//! Auth against a real Redis and Postgres.

mod logins;
mod otps;
mod sessions;
mod support;
