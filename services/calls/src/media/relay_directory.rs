//! The relays that calls may use at present.

use std::sync::Arc;

use talktime_kit::db::PgConnection;

use crate::domain::relay_choice::{RelayAddress, choose_relays};
use crate::store::relay_nodes::{self, RelayNode};

/// Seconds after its last report for which a relay gets calls. Relays report every few seconds.
pub(super) const REPORTED_WITHIN_SECS: f64 = 15.0;

/// Knows the relays; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RelayDirectory {
    configured: Arc<[RelayAddress]>,
}

impl RelayDirectory {
    /// `hosts` are the relays of the configuration, which are used while no relay reports.
    pub(crate) fn new(hosts: &[String]) -> Self {
        let configured = hosts.iter().map(|host| RelayAddress::of_host(host));
        Self {
            configured: configured.collect(),
        }
    }

    /// Returns the relays of a call: its own first, then the one to use if that fails. Relays that are about to stop
    /// come into question only if there are no others.
    pub(crate) async fn load_relays(
        &self,
        connection: &mut PgConnection,
        call_id: i64,
    ) -> sqlx::Result<Vec<RelayAddress>> {
        let reporting = relay_nodes::list_reporting(connection, REPORTED_WITHIN_SECS).await?;
        let (draining, staying): (Vec<RelayNode>, Vec<RelayNode>) =
            reporting.into_iter().partition(|node| node.is_draining);
        let usable = if staying.is_empty() {
            draining
        } else {
            staying
        };
        let relays = if usable.is_empty() {
            self.configured.to_vec()
        } else {
            usable.into_iter().map(relay_address).collect()
        };
        Ok(choose_relays(call_id, relays))
    }
}

fn relay_address(node: RelayNode) -> RelayAddress {
    RelayAddress {
        realm: node.realm,
        urls: node.urls,
    }
}
