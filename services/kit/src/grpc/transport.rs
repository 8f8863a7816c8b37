//! Connections between processes of the platform: TLS with an identity on both sides.
//!
//! Programs that are built with the feature `plaintext` talk in clear instead, and callers merely name themselves. Only the
//! measurement of what TLS costs (`cargo dev bench transport`) builds such programs, and they do not start outside
//! development.

#[cfg(feature = "plaintext")]
mod plaintext;
#[cfg(not(feature = "plaintext"))]
mod tls;

#[cfg(feature = "plaintext")]
pub(super) use plaintext::{ServerConnection, accept, build_endpoint, find_caller};
#[cfg(not(feature = "plaintext"))]
pub(super) use tls::{ServerConnection, accept, build_endpoint, find_caller};

/// Whether this program talks in clear.
pub(crate) const IS_PLAINTEXT: bool = cfg!(feature = "plaintext");
