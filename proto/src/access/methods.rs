//! The callers of each method, as the `.proto` files declare them.

use super::v1::Workload;

/// The path of each method, such as `/talktime.wallet.v1.WalletService/GetBalance`, and its callers; ordered by path.
pub const METHOD_CALLERS: &[(&str, &[Workload])] =
    include!(concat!(env!("OUT_DIR"), "/method_callers.rs"));

/// Returns the processes that may call the method with this path, or none if there is no such method.
pub fn find_callers(path: &str) -> &'static [Workload] {
    let found = METHOD_CALLERS.binary_search_by(|(method, _)| method.cmp(&path));
    found.map_or(&[], |index| METHOD_CALLERS[index].1)
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
    fn only_the_calls_service_charges() {
        let path = "/talktime.wallet.v1.WalletService/ChargeBatch";
        assert_eq!(find_callers(path), [Workload::Calls]);
    }
}
