//! The names by which certificates identify the processes of the platform.

use super::v1::Workload;

/// Begins the identity of every process: a SPIFFE id in the trust domain of the platform.
const SPIFFE_PREFIX: &str = "spiffe://talktime/";

impl Workload {
    /// Every process that has an identity.
    pub const ALL: [Self; 8] = [
        Self::Gateway,
        Self::Auth,
        Self::Profile,
        Self::Presence,
        Self::Wallet,
        Self::Calls,
        Self::Verification,
        Self::RelayAgent,
    ];

    /// Returns the name of the process, such as `relay-agent`; empty for the unspecified one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::Profile => "profile",
            Self::Presence => "presence",
            Self::Wallet => "wallet",
            Self::Calls => "calls",
            Self::Verification => "verification",
            Self::RelayAgent => "relay-agent",
        }
    }

    /// Returns the URI that identifies the process in its certificate.
    pub fn spiffe_id(self) -> String {
        format!("{SPIFFE_PREFIX}{}", self.name())
    }

    /// Returns the DNS name that clients require in the certificate of the process, whatever address it has.
    pub fn server_name(self) -> String {
        format!("{}.talktime.internal", self.name())
    }

    /// Returns the process that a URI of a certificate identifies.
    pub fn from_spiffe_id(id: &str) -> Option<Self> {
        let name = id.strip_prefix(SPIFFE_PREFIX)?;
        Self::ALL
            .into_iter()
            .find(|workload| workload.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_names_its_process_and_no_other() {
        for workload in Workload::ALL {
            assert_eq!(
                Workload::from_spiffe_id(&workload.spiffe_id()),
                Some(workload)
            );
        }
        for stranger in [
            "spiffe://talktime/",
            "spiffe://talktime/nobody",
            "spiffe://elsewhere/wallet",
            "spiffe://talktime/wallet/",
            "https://talktime/wallet",
            "wallet",
        ] {
            assert_eq!(Workload::from_spiffe_id(stranger), None, "{stranger}");
        }
    }
}
