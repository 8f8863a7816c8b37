use std::time::Duration;

/// How long a gateway relies on an answer of `ListRevocations`, from the time of its request. Whoever has committed
/// a revocation and then waits for so long knows that every gateway has either seen it, or checks Redis
/// about each token because it got no answer.
pub const REVOCATIONS_HOLD: Duration = Duration::from_secs(1);
