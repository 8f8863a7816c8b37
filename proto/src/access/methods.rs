//! The callers of each method, and for whom it acts, as the `.proto` files declare them.

use super::v1::{Actor, Workload};

/// A method, the processes that may call it, and for whom it acts when the gateway calls it.
#[derive(Clone, Copy, Debug)]
pub struct MethodAccess {
    /// Such as `/talktime.wallet.v1.WalletService/GetBalance`.
    pub path: &'static str,
    /// The processes that may call it.
    pub callers: &'static [Workload],
    /// For whom it acts.
    pub actor: Actor,
    /// The fields of its request that name the user who acts, each as the numbers of the fields that lead to it: exactly
    /// one for a user, and at most one for an admin.
    pub user_fields: &'static [&'static [u32]],
}

/// Every method, ordered by path.
pub const METHOD_ACCESS: &[MethodAccess] = include!(concat!(env!("OUT_DIR"), "/method_access.rs"));

/// Returns what the method with this path declares, or nothing if there is no such method.
pub fn find_access(path: &str) -> Option<&'static MethodAccess> {
    let found = METHOD_ACCESS.binary_search_by(|method| method.path.cmp(path));
    found.ok().map(|index| &METHOD_ACCESS[index])
}

/// Returns the processes that may call the method with this path, or none if there is no such method.
pub fn find_callers(path: &str) -> &'static [Workload] {
    find_access(path).map_or(&[], |method| method.callers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_with_its_callers_and_its_actor() {
        for method in METHOD_ACCESS {
            let found = find_access(method.path).expect("a method");
            assert_eq!(found.path, method.path);
            assert_ne!(found.actor, Actor::Unspecified, "{}", method.path);
            assert_eq!(find_callers(method.path), method.callers);
            assert!(!method.callers.is_empty(), "{}", method.path);
        }
        let unknown = "/talktime.wallet.v1.WalletService/Mint";
        assert!(find_access(unknown).is_none());
        assert_eq!(find_callers(unknown), []);
    }

    #[test]
    fn the_user_who_acts_is_named_even_in_the_first_part_of_a_stream() {
        let find = |path| find_access(path).expect("a method");
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
