//! The calls service's decisions on simulated parts, and its statements on a real Postgres.

mod agreement;
mod badges;
mod model;
mod plans;
mod simulation;
