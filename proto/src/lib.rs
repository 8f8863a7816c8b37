//! The contracts between services: gRPC APIs and events, compiled from `talktime/**/*.proto`.
//!
//! Field units, bounds and meanings are documented in the `.proto` files, which stay the source
//! of truth; generated items repeat those comments.

// Generated code keeps its generator's habits.
#![allow(missing_docs, unreachable_pub, clippy::pedantic)]

/// The descriptor set of all contracts, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod access {
    pub mod v1 {
        tonic::include_proto!("talktime.access.v1");
    }

    mod bus;
    mod keys;
    mod methods;
    mod workloads;
    pub use bus::{
        BUS_ACCESS, BUS_OPERATOR, BusAccess, BusPermissions, inbox_prefix, render_bus_users,
    };
    pub use keys::{
        KEY_ACCESS, KeyAccess, REDIS_OPERATOR, render_redis_users, render_sentinel_users,
    };
    pub use methods::{METHOD_ACCESS, MethodAccess, find_access, find_callers};
}

pub mod auth {
    pub mod v1 {
        tonic::include_proto!("talktime.auth.v1");
    }

    mod revocations;
    mod tokens;
    pub use revocations::REVOCATIONS_HOLD;
    pub use tokens::{
        TOKEN_AUDIENCE, TOKEN_ISSUER, ended_session_key, revoked_before_key, revoked_token_key,
    };
}

pub mod profile {
    pub mod v1 {
        tonic::include_proto!("talktime.profile.v1");
    }

    mod roles;
    pub use roles::{ROLE_ADMIN, ROLE_LISTENER, ROLE_USER};
}

pub mod presence {
    pub mod v1 {
        tonic::include_proto!("talktime.presence.v1");
    }
}

pub mod wallet {
    pub mod v1 {
        tonic::include_proto!("talktime.wallet.v1");
    }

    mod transfer;
    pub use transfer::charge_id;
}

pub mod calls {
    pub mod v1 {
        tonic::include_proto!("talktime.calls.v1");
    }

    mod relay;
    mod seat;
    mod uuid;
    pub use self::relay::relay_cut_subject;
    pub use self::seat::seat_subject;
    pub use self::uuid::call_uuid;
}

pub mod verification {
    pub mod v1 {
        tonic::include_proto!("talktime.verification.v1");
    }
}

pub mod export {
    pub mod v1 {
        tonic::include_proto!("talktime.export.v1");
    }
}

pub mod events {
    pub mod v1 {
        tonic::include_proto!("talktime.events.v1");
    }

    pub mod consumers;
    mod subject;
    pub use subject::{
        EVENT_SUBJECTS, LIVE_PRESENCE_SUBJECT, STREAM_NAME, STREAM_SUBJECTS, subject,
    };
}

mod availability;
mod convert;
pub use convert::{datetime, timestamp};
