//! The gRPC API of the agents beside the relays.

use std::collections::HashSet;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_proto::calls::v1::relay_service_server::RelayService;
use talktime_proto::calls::v1::{self as wire, ReportRelayRequest, ReportRelayResponse};
use talktime_proto::datetime;
use tonic::{Request, Response, Status};

use super::into_status;
use crate::domain::relay::{AllocationReport, RelayTraffic, is_realm};
use crate::relay_reports::RelayReport;
use crate::service::CallService;
use crate::store::relay_nodes::RelayNode;

/// Allocations in one report.
const ALLOCATIONS_MAX: usize = 500;
const URLS_MAX: usize = 8;
const URL_CHARS_MAX: usize = 255;
const ALLOCATION_CHARS_MAX: usize = 32;

pub(crate) struct RelayApi {
    calls: CallService,
}

impl RelayApi {
    pub(crate) fn new(calls: CallService) -> Self {
        Self { calls }
    }
}

#[tonic::async_trait]
impl RelayService for RelayApi {
    async fn report_relay(
        &self,
        request: Request<ReportRelayRequest>,
    ) -> Result<Response<ReportRelayResponse>, Status> {
        let report = parse_report(request.into_inner()).map_err(refuse)?;
        let ended = self.calls.report_relay(&report).await;
        Ok(Response::new(ReportRelayResponse {
            ended_usernames: ended.map_err(into_status)?,
        }))
    }
}

fn parse_report(request: ReportRelayRequest) -> Result<RelayReport, Error> {
    let is_realm = is_realm(&request.realm);
    require(is_realm, "The realm must be a host name.")?;
    let are_urls = (1..=URLS_MAX).contains(&request.urls.len())
        && request.urls.iter().all(|url| is_turn_url(url));
    require(are_urls, "The addresses must be TURN URLs.")?;
    let is_small = request.allocations.len() <= ALLOCATIONS_MAX;
    require(
        is_small,
        "A report must not have more than 500 allocations.",
    )?;
    let allocations = request.allocations.into_iter().map(parse_allocation);
    let allocations = allocations.collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::new();
    let is_distinct = allocations
        .iter()
        .all(|report| seen.insert((report.allocation.as_str(), report.username)));
    require(is_distinct, "A report must have each allocation once.")?;
    let node = RelayNode {
        realm: request.realm,
        urls: request.urls,
        is_draining: request.is_draining,
    };
    Ok(RelayReport { node, allocations })
}

fn parse_allocation(wire: wire::RelayAllocation) -> Result<AllocationReport, Error> {
    let is_allocation = (1..=ALLOCATION_CHARS_MAX).contains(&wire.allocation.len())
        && wire.allocation.bytes().all(|byte| byte.is_ascii_digit());
    require(is_allocation, "An allocation must have a number.")?;
    let traffic = RelayTraffic {
        in_packets: wire.in_packets,
        in_bytes: wire.in_bytes,
        out_packets: wire.out_packets,
        out_bytes: wire.out_bytes,
    };
    require(traffic.is_valid(), "Counts must not be negative.")?;
    let username = wire.username.parse();
    Ok(AllocationReport {
        allocation: wire.allocation,
        username: username
            .map_err(|error| invalid_report("Unknown form of a user name.").with_source(error))?,
        seq: wire.seq,
        began_at: datetime(wire.began_at.as_ref())
            .ok_or_else(|| invalid_report("An allocation must have a start."))?,
        ended_at: datetime(wire.ended_at.as_ref()),
        traffic,
    })
}

fn is_turn_url(url: &str) -> bool {
    url.len() <= URL_CHARS_MAX && (url.starts_with("turn:") || url.starts_with("turns:"))
}

fn require(holds: bool, detail: &'static str) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(invalid_report(detail))
    }
}

fn invalid_report(detail: &'static str) -> Error {
    Error::invalid("invalid_relay_report", detail)
}

#[cfg(test)]
mod tests {
    use talktime_proto::timestamp;

    use super::*;

    fn report() -> ReportRelayRequest {
        ReportRelayRequest {
            realm: "relay-1".to_owned(),
            urls: vec!["turn:127.0.0.1:3478?transport=udp".to_owned()],
            is_draining: false,
            allocations: vec![wire::RelayAllocation {
                allocation: "000000000000000001".to_owned(),
                username: "1900000000:42.caller.1".to_owned(),
                seq: 1,
                began_at: Some(timestamp(chrono::DateTime::UNIX_EPOCH)),
                ..wire::RelayAllocation::default()
            }],
        }
    }

    #[test]
    fn a_complete_report_is_accepted() {
        let parsed = parse_report(report()).expect("valid");
        assert_eq!(parsed.allocations[0].username.seat.call_id, 42);
    }

    #[test]
    fn invalid_reports_are_refused() {
        let breakages: [fn(&mut ReportRelayRequest); 9] = [
            |report| report.realm.clear(),
            |report| report.realm = "relay.>".to_owned(),
            |report| report.urls.clear(),
            |report| report.urls[0] = "https://relay".to_owned(),
            |report| report.allocations[0].allocation = "x".to_owned(),
            |report| report.allocations[0].username = "asha".to_owned(),
            |report| report.allocations[0].began_at = None,
            |report| report.allocations[0].out_packets = -1,
            |report| report.allocations.push(report.allocations[0].clone()),
        ];
        for break_report in breakages {
            let mut request = report();
            break_report(&mut request);
            let error = parse_report(request.clone()).expect_err("refused");
            assert_eq!(error.code(), "invalid_relay_report", "{request:?}");
        }
        let mut long = report();
        long.allocations = vec![long.allocations[0].clone(); ALLOCATIONS_MAX + 1];
        assert!(parse_report(long).is_err());
    }
}
