//! The foundation of every Talktime service.
//!
//! A service's `main` reads its configuration ([`config`]), starts a [`RunningService`] (telemetry, the
//! operations port, database, NATS), wires its domain, and serves gRPC until SIGTERM or SIGINT.

pub mod batch;
pub mod breaker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod deadlines;
mod environment;
pub mod error;
pub mod export;
pub mod failpoint;
mod gauges;
pub mod grpc;
pub mod idempotency;
pub mod identity;
pub mod india;
mod kind;
pub mod lease;
pub mod lifecycle;
pub mod messaging;
#[cfg(feature = "object-store")]
pub mod object_store;
pub mod operator;
pub mod ops;
pub mod pace;
pub mod paging;
pub mod partitions;
pub mod periodic;
pub mod progress;
pub mod redis;
pub mod restored;
pub mod sealing;
mod secret_files;
mod service;
mod store_authority;
mod store_config;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
mod text_enum;
pub mod tokens;
pub mod trace;

pub use clock::Clock;
pub use error::{Error, ErrorKind};
/// The allocator of every process. Requests make many small allocations, which take a tenth of the time of a
/// busy service with the allocator of the system.
pub use mimalloc::MiMalloc;
pub use service::RunningService;
