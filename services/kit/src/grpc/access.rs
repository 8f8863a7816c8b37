//! Which process may call which method.

use talktime_proto::access::v1::Workload;

use super::{HEALTH_PATHS, REFLECTION_PATHS};

const REFUSED_CALLERS: &str = "grpc_refused_callers_total";
/// The label of a caller whose certificate names no process.
const NO_PROCESS: &str = "unknown";

/// Finds the callers of the method with a path; none for an unknown method.
pub type CallerLookup = fn(&str) -> &'static [Workload];

/// Returns whether `caller` may call the method with this path. Every process of the platform may ask for the health
/// of every other and, where it is served, for the reflection.
pub(super) fn is_allowed(path: &str, caller: Option<Workload>, find_callers: CallerLookup) -> bool {
    let Some(caller) = caller else {
        return false;
    };
    path.starts_with(HEALTH_PATHS)
        || path.starts_with(REFLECTION_PATHS)
        || find_callers(path).contains(&caller)
}

/// Makes the counters of refusals start at zero, so that the first refusal is an increase.
pub(super) fn register_metrics() {
    for caller in Workload::ALL
        .map(Workload::name)
        .into_iter()
        .chain([NO_PROCESS])
    {
        metrics::counter!(REFUSED_CALLERS, "caller" => caller).increment(0);
    }
    metrics::counter!("grpc_refused_handshakes_total").increment(0);
}

/// Counts a refused call, and logs it, because refused calls indicate a fault or an attack.
pub(super) fn report_refusal(path: &str, caller: Option<Workload>) {
    let caller = caller.map_or(NO_PROCESS, Workload::name);
    metrics::counter!(REFUSED_CALLERS, "caller" => caller).increment(1);
    tracing::warn!(
        method = path,
        caller,
        "a process called a method that it may not call; the call was refused"
    );
}

#[cfg(test)]
mod tests {
    use talktime_proto::access::find_callers;

    use super::*;

    const CHARGE: &str = "/talktime.wallet.v1.WalletService/ChargeBatch";

    #[test]
    fn only_declared_callers_are_allowed() {
        assert!(is_allowed(CHARGE, Some(Workload::Calls), find_callers));
        assert!(!is_allowed(CHARGE, Some(Workload::Gateway), find_callers));
        assert!(!is_allowed(CHARGE, None, find_callers));
        let unknown = "/talktime.wallet.v1.WalletService/Mint";
        assert!(!is_allowed(unknown, Some(Workload::Calls), find_callers));
    }

    #[test]
    fn health_is_for_every_process_of_the_platform_and_for_nobody_else() {
        let check = "/grpc.health.v1.Health/Check";
        assert!(is_allowed(check, Some(Workload::RelayAgent), find_callers));
        assert!(!is_allowed(check, None, find_callers));
    }
}
