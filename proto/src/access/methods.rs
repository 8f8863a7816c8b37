//! The callers of each method, and for whom it acts, as the `.proto` files declare them.

use super::v1::{Actor, Workload};

/// The path of each method, such as `/talktime.wallet.v1.WalletService/GetBalance`, and its callers; ordered by path.
pub const METHOD_CALLERS: &[(&str, &[Workload])] =
    include!(concat!(env!("OUT_DIR"), "/method_callers.rs"));

/// Returns the processes that may call the method with this path, or none if there is no such method.
pub fn find_callers(path: &str) -> &'static [Workload] {
    let found = METHOD_CALLERS.binary_search_by(|(method, _)| method.cmp(&path));
    found.map_or(&[], |index| METHOD_CALLERS[index].1)
}

/// A method, and for whom it acts when the gateway calls it.
#[derive(Clone, Copy, Debug)]
pub struct MethodActor {
    /// Such as `/talktime.wallet.v1.WalletService/GetBalance`.
    pub path: &'static str,
    /// For whom it acts.
    pub actor: Actor,
    /// The fields of its request that name the user who acts, each as the numbers of the fields that lead to it: exactly
    /// one for a user, and at most one for an admin.
    pub user_fields: &'static [&'static [u32]],
}

/// Every method, ordered by path.
pub const METHOD_ACTORS: &[MethodActor] = include!(concat!(env!("OUT_DIR"), "/method_actors.rs"));

/// Returns for whom the method with this path acts, or nothing if there is no such method.
pub fn find_actor(path: &str) -> Option<&'static MethodActor> {
    let found = METHOD_ACTORS.binary_search_by(|method| method.path.cmp(path));
    found.ok().map(|index| &METHOD_ACTORS[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_with_its_callers() {
        for (path, callers) in METHOD_CALLERS {
            assert_eq!(find_callers(path), *callers, "{path}");
            assert!(!callers.is_empty(), "{path}");
        }
        assert_eq!(find_callers("/talktime.wallet.v1.WalletService/Mint"), []);
    }

    #[test]
    fn every_method_is_found_with_its_actor() {
        assert_eq!(METHOD_ACTORS.len(), METHOD_CALLERS.len());
        for method in METHOD_ACTORS {
            let found = find_actor(method.path).expect("a method");
            assert_eq!(found.path, method.path);
            assert_ne!(found.actor, Actor::Unspecified, "{}", method.path);
        }
        assert!(find_actor("/talktime.wallet.v1.WalletService/Mint").is_none());
    }

    #[test]
    fn the_user_who_acts_is_named_even_in_the_first_part_of_a_stream() {
        let find = |path| find_actor(path).expect("a method");
        let withdraw = find("/talktime.wallet.v1.WalletService/Withdraw");
        assert_eq!(withdraw.actor, Actor::User);
        assert_eq!(withdraw.user_fields, [[1]]);
        let decide = find("/talktime.wallet.v1.WalletService/DecideWithdrawal");
        assert_eq!(decide.actor, Actor::Admin);
        assert_eq!(decide.user_fields, [[2]]);
        let upload = find("/talktime.verification.v1.VerificationService/UploadAudio");
        assert_eq!(upload.user_fields, [[1, 1]]);
    }

    #[test]
    fn only_the_calls_service_charges() {
        let path = "/talktime.wallet.v1.WalletService/ChargeBatch";
        assert_eq!(find_callers(path), [Workload::Calls]);
    }
}
