//! Tests of the decisions of the calls service in a simulation, and of its statements on a real Postgres.

mod agreement;
mod badges;
mod model;
mod plans;
mod simulation;
