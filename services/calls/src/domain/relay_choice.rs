//! The relays of a call.

use aws_lc_rs::digest;

/// Relays that a seat gets credentials for: the one of the call, and one to use if it fails.
pub const RELAYS_PER_CALL: usize = 2;

/// A relay that apps can reach.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RelayAddress {
    /// The TURN realm, which no other relay has.
    pub realm: String,
    /// `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
}

impl RelayAddress {
    /// The relay of a host with the usual ports.
    pub fn of_host(host: &str) -> Self {
        Self {
            realm: host.to_owned(),
            urls: vec![
                format!("turn:{host}:3478?transport=udp"),
                format!("turn:{host}:3478?transport=tcp"),
                format!("turns:{host}:443?transport=tcp"),
            ],
        }
    }
}

/// Chooses the relays of a call by rendezvous hashing: both seats get the same ones wherever they ask, and a relay
/// that comes or goes moves only the calls that are its own.
pub fn choose_relays(call_id: i64, relays: Vec<RelayAddress>) -> Vec<RelayAddress> {
    let mut scored: Vec<(Vec<u8>, RelayAddress)> = relays
        .into_iter()
        .map(|relay| (score(call_id, &relay.realm), relay))
        .collect();
    scored.sort_by(|(left, _), (right, _)| right.cmp(left));
    let chosen = scored.into_iter().map(|(_, relay)| relay);
    chosen.take(RELAYS_PER_CALL).collect()
}

fn score(call_id: i64, realm: &str) -> Vec<u8> {
    let text = format!("{call_id}/{realm}");
    digest::digest(&digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(names: &[&str]) -> Vec<RelayAddress> {
        names
            .iter()
            .map(|name| RelayAddress::of_host(name))
            .collect()
    }

    fn first_realm(call_id: i64, names: &[&str]) -> String {
        choose_relays(call_id, relays(names))[0].realm.clone()
    }

    #[test]
    fn the_choice_does_not_depend_on_the_order_of_the_relays() {
        for call_id in 1..100 {
            let chosen = choose_relays(call_id, relays(&["a", "b", "c"]));
            assert_eq!(chosen, choose_relays(call_id, relays(&["c", "a", "b"])));
            assert_eq!(chosen.len(), RELAYS_PER_CALL);
        }
    }

    #[test]
    fn the_second_relay_is_the_one_that_follows_if_the_first_is_gone() {
        for call_id in 1..100 {
            let [first, second] = &choose_relays(call_id, relays(&["a", "b", "c"]))[..] else {
                panic!("two relays");
            };
            let others: Vec<&str> = ["a", "b", "c"]
                .into_iter()
                .filter(|name| *name != first.realm)
                .collect();
            assert_eq!(first_realm(call_id, &others), second.realm);
        }
    }

    #[test]
    fn calls_spread_over_the_relays() {
        let count_calls = |name: &str| {
            let calls = (1..=3_000).filter(|id| first_realm(*id, &["a", "b", "c"]) == name);
            calls.count()
        };
        for name in ["a", "b", "c"] {
            assert!(
                (800..1_200).contains(&count_calls(name)),
                "{name}: {}",
                count_calls(name)
            );
        }
    }

    #[test]
    fn one_relay_is_better_than_none() {
        assert_eq!(choose_relays(7, relays(&["a"])).len(), 1);
        assert_eq!(choose_relays(7, vec![]), []);
    }
}
