//! Names of roles, as profile stores and publishes them.

pub const ROLE_USER: &str = "user";
pub const ROLE_LISTENER: &str = "listener";
pub const ROLE_ADMIN: &str = "admin";
