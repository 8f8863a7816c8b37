//! The keys of Redis that each process may read and write, in one table. The users of the servers are generated from it
//! (`deploy/redis/users.acl`), and so are the tests of everything that it forbids.

use super::v1::Workload;

/// The user with all rights, for people, replication, and commands of operators. No process logs in as this user.
pub const REDIS_OPERATOR: &str = "operator";

/// The rights of a process in Redis: keys by what they begin with.
#[derive(Clone, Copy, Debug)]
pub struct KeyAccess {
    /// The process, whose name is that of its user.
    pub workload: Workload,
    /// Beginnings of the keys that it reads and writes.
    pub writes: &'static [&'static str],
    /// Beginnings of the keys that it only reads.
    pub reads: &'static [&'static str],
}

/// Every process that uses Redis, with its keys. The agent of a media relay has a Redis of its own.
pub const KEY_ACCESS: [KeyAccess; 3] = [
    KeyAccess {
        workload: Workload::Gateway,
        // Requests that are counted, sockets and their tickets.
        writes: &["limit:", "ws:"],
        // Revoked access tokens.
        reads: &["access:"],
    },
    KeyAccess {
        workload: Workload::Auth,
        writes: &[
            // Codes, their challenges, and guesses at them.
            "otp:",
            "otp_id:",
            "otp_challenge:",
            "otp_guesses:",
            // Counts of messages and of wrong guesses.
            "otp_rl:",
            "otp_resend:",
            "otp_wrong:",
            // Attestations that were used.
            "attestation:",
            // Sessions, and revoked access tokens.
            "refresh:",
            "access:",
        ],
        reads: &[],
    },
    KeyAccess {
        workload: Workload::Calls,
        // Live calls.
        writes: &["call:"],
        reads: &[],
    },
];

/// The commands of processes: those for keys and scripts. Some others reveal the names of all keys, or affect what all
/// processes share. The clock, which scripts of the gateway read, belongs to no category but that of fast commands.
const PROCESS_COMMANDS: &str = "-@all +@read +@write +@scripting +@connection -@dangerous +info +role +time \
     -scan -randomkey -dbsize -function -fcall -fcall_ro -script|flush -script|kill";
/// The commands of processes at a sentinel: where the primary is, and which other sentinels there are.
const SENTINEL_COMMANDS: &str =
    "-@all +@connection -@dangerous +sentinel|get-master-addr-by-name +sentinel|sentinels";

/// Renders the users of a Redis server, whose passwords are variables of its environment.
pub fn render_redis_users() -> String {
    render_users(|access| {
        let writes = access.writes.iter().map(|prefix| format!("~{prefix}*"));
        let reads = access.reads.iter().map(|prefix| format!("%R~{prefix}*"));
        let keys: Vec<String> = writes.chain(reads).collect();
        format!("{} {PROCESS_COMMANDS}", keys.join(" "))
    })
}

/// Renders the same users of a sentinel, which has no keys.
pub fn render_sentinel_users() -> String {
    render_users(|_| SENTINEL_COMMANDS.to_owned())
}

fn render_users(rights: impl Fn(&KeyAccess) -> String) -> String {
    let users = KEY_ACCESS.iter().map(|access| {
        let user = access.workload.name();
        format!("{} resetchannels {}\n", render_login(user), rights(access))
    });
    let users: String = users.collect();
    let operator = render_login(REDIS_OPERATOR);
    format!("user default off\n{users}{operator} ~* &* +@all\n")
}

fn render_login(user: &str) -> String {
    format!("user {user} on >${}_PASSWORD", user.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ended_session_key, revoked_before_key, revoked_token_key};

    #[test]
    fn auth_writes_the_keys_of_revocations_and_gateways_read_them() {
        let find = |workload| KEY_ACCESS.iter().find(|access| access.workload == workload);
        let (auth, gateway) = (find(Workload::Auth), find(Workload::Gateway));
        for key in [
            revoked_token_key(7, "id"),
            ended_session_key(7, "id"),
            revoked_before_key(7),
        ] {
            let covers = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
            assert!(covers(auth.expect("it has keys").writes), "{key}");
            assert!(covers(gateway.expect("it has keys").reads), "{key}");
        }
    }

    #[test]
    fn no_two_processes_write_the_same_keys() {
        for access in KEY_ACCESS {
            let others = KEY_ACCESS.iter();
            let others = others.filter(|other| other.workload != access.workload);
            for other in others.flat_map(|other| other.writes) {
                let overlaps = |own: &&&str| own.starts_with(other);
                assert_eq!(access.writes.iter().find(overlaps), None, "{access:?}");
            }
        }
    }

    #[test]
    fn the_users_of_the_servers_are_those_of_the_table() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/redis/");
        for (file, rendered) in [
            ("users.acl", render_redis_users()),
            ("sentinel-users.acl", render_sentinel_users()),
        ] {
            let users = std::fs::read_to_string(folder.to_owned() + file).expect(file);
            assert!(users == rendered, "run `cargo dev docs`");
        }
    }
}
