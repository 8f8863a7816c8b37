//! What auth keeps in Redis. Whatever must be atomic over several keys, or over several replicas,
//! is one script; so Redis here is one primary (with replicas), not a cluster.

pub mod keys;
pub mod otps;
pub mod sessions;
