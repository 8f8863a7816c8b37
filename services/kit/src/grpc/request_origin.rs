//! From where a request comes, and for what reason: facts about requests of admins, which the audit log keeps.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use tonic::metadata::{MetadataMap, MetadataValue};

/// The metadata with the address of the client, such as `203.0.113.7`.
const CLIENT_ADDRESS: &str = "client-address";
/// The metadata with the reason, which may have any characters.
const AUDIT_REASON: &str = "audit-reason-bin";

tokio::task_local! {
    /// The origin of the request of this task.
    static CURRENT: RequestOrigin;
}

/// From where a request comes, and for what reason; cheap to clone. The gateway says so; nothing proves it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestOrigin {
    /// The address of the client.
    pub client_address: Option<IpAddr>,
    /// The reason that an admin has given.
    pub audit_reason: Option<Arc<str>>,
}

/// Runs `work` for a request of this origin: requests to peers made inside carry it, if their methods act for an admin.
pub fn with_request_origin<F: Future>(
    origin: RequestOrigin,
    work: F,
) -> impl Future<Output = F::Output> {
    CURRENT.scope(origin, work)
}

/// Adds the origin of the current request.
pub(super) fn attach_request_origin(metadata: &mut MetadataMap) {
    let Ok(origin) = CURRENT.try_with(RequestOrigin::clone) else {
        return;
    };
    let address = origin.client_address.map(|address| address.to_string());
    if let Some(value) = address.and_then(|address| MetadataValue::try_from(address).ok()) {
        metadata.insert(CLIENT_ADDRESS, value);
    }
    if let Some(reason) = origin.audit_reason {
        metadata.insert_bin(AUDIT_REASON, MetadataValue::from_bytes(reason.as_bytes()));
    }
}

/// Returns the origin that a request carries, as texts; empty where it carries none.
pub(super) fn read_request_origin(headers: HeaderMap) -> (String, String) {
    let metadata = MetadataMap::from_headers(headers);
    let address = metadata.get(CLIENT_ADDRESS);
    let address = address.and_then(|value| value.to_str().ok());
    let reason = metadata.get_bin(AUDIT_REASON);
    let reason = reason.and_then(|value| value.to_bytes().ok());
    let reason = reason.map(|reason| String::from_utf8_lossy(&reason).into_owned());
    (
        address.unwrap_or_default().to_owned(),
        reason.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_origin_arrives_as_it_was_sent() {
        let origin = RequestOrigin {
            client_address: Some("2001:db8::7".parse().expect("an address")),
            audit_reason: Some("शिकायत 7".into()),
        };
        let mut metadata = MetadataMap::new();
        with_request_origin(origin, async { attach_request_origin(&mut metadata) }).await;
        let read = read_request_origin(metadata.into_headers());
        assert_eq!(read, ("2001:db8::7".to_owned(), "शिकायत 7".to_owned()));
        let none = read_request_origin(HeaderMap::new());
        assert_eq!(none, (String::new(), String::new()));
    }
}
