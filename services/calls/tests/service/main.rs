//! Tests of the decisions of the calls service in a simulation, and of its statements on a real Postgres.

mod agreement;
mod badges;
mod hang_ups;
mod media;
mod model;
mod permission;
mod plans;
mod relay;
mod ring_model;
mod rings;
mod seats;
mod simulation;
