//! The rights of each process on NATS, in one table. The users of the servers are generated from it
//! (`deploy/nats/users.conf`), and so are the tests of everything that it forbids.

use super::v1::Workload;
use crate::events::consumers::{
    AUTH_PROFILE, CALLS_PROFILE, DurableConsumer, PRESENCE_AUTH, PRESENCE_CALLS, PRESENCE_PROFILE,
    PROFILE_CALLS, PROFILE_PHOTOS, PROFILE_PRESENCE, PROFILE_RATINGS, PROFILE_VERIFICATION,
    VERIFICATION_PROFILE, WALLET_PROFILE,
};
use crate::events::{LIVE_PRESENCE_SUBJECT, STREAM_NAME, STREAM_SUBJECTS};

/// The user with all rights, for people and for what creates the stream. No process logs in as this user.
pub const BUS_OPERATOR: &str = "operator";

/// The messages about seats of all users (`calls::seat_subject`).
const SEAT_SUBJECTS: &str = "live.calls.seat.*";
/// The orders to all relays (`calls::relay_cut_subject`), whose realms are host names.
const RELAY_CUT_SUBJECTS: &str = "relay.cut.>";
const ALL_SUBJECTS: &str = ">";

/// The subjects that a process publishes and reads.
#[derive(Clone, Copy, Debug)]
pub struct BusAccess {
    /// The process, whose name is that of its user.
    pub workload: Workload,
    /// The subjects that it publishes, with wildcards.
    pub publishes: &'static [&'static str],
    /// The subjects that it subscribes to outside of the stream, with wildcards.
    pub subscribes: &'static [&'static str],
    /// Its durable consumers of the stream.
    pub consumers: &'static [DurableConsumer],
    /// Whether it also reads the whole stream, by consumers that end with it.
    pub follows_stream: bool,
}

/// The rights of a user of NATS; everything else is refused.
#[derive(Clone, Debug, Default)]
pub struct BusPermissions {
    /// Subjects that the user may publish.
    pub publish: Vec<String>,
    /// Exceptions from these.
    pub publish_except: Vec<String>,
    /// Subjects that the user may subscribe to.
    pub subscribe: Vec<String>,
}

/// Every process with its access to NATS.
pub const BUS_ACCESS: [BusAccess; 8] = [
    BusAccess {
        workload: Workload::Gateway,
        // Signals for the sockets of the other party, which another gateway may serve.
        publishes: &[SEAT_SUBJECTS],
        subscribes: &[
            "events.auth.tokens_revoked",
            LIVE_PRESENCE_SUBJECT,
            SEAT_SUBJECTS,
        ],
        consumers: &[],
        follows_stream: true,
    },
    BusAccess {
        workload: Workload::Auth,
        publishes: &["events.auth.>"],
        subscribes: &[],
        consumers: &[AUTH_PROFILE],
        follows_stream: false,
    },
    BusAccess {
        workload: Workload::Profile,
        publishes: &["events.profile.>"],
        subscribes: &[],
        consumers: &[
            PROFILE_PRESENCE,
            PROFILE_CALLS,
            PROFILE_VERIFICATION,
            PROFILE_RATINGS,
            PROFILE_PHOTOS,
        ],
        follows_stream: false,
    },
    BusAccess {
        workload: Workload::Presence,
        publishes: &["events.presence.>", LIVE_PRESENCE_SUBJECT],
        subscribes: &[],
        consumers: &[PRESENCE_PROFILE, PRESENCE_AUTH, PRESENCE_CALLS],
        follows_stream: false,
    },
    BusAccess {
        workload: Workload::Wallet,
        publishes: &["events.wallet.>"],
        subscribes: &[],
        consumers: &[WALLET_PROFILE],
        follows_stream: false,
    },
    BusAccess {
        workload: Workload::Calls,
        publishes: &["events.calls.>", SEAT_SUBJECTS, RELAY_CUT_SUBJECTS],
        subscribes: &[],
        consumers: &[CALLS_PROFILE],
        follows_stream: false,
    },
    BusAccess {
        workload: Workload::Verification,
        publishes: &["events.verification.>"],
        subscribes: &[],
        consumers: &[VERIFICATION_PROFILE],
        follows_stream: false,
    },
    BusAccess {
        workload: Workload::RelayAgent,
        publishes: &[],
        subscribes: &[RELAY_CUT_SUBJECTS],
        consumers: &[],
        follows_stream: false,
    },
];

impl BusAccess {
    /// Returns the permissions that the access needs, with those for the requests to JetStream.
    pub fn permissions(&self) -> BusPermissions {
        let own = |subjects: &[&str]| subjects.iter().copied().map(str::to_owned).collect();
        let mut permissions = BusPermissions {
            publish: own(self.publishes),
            publish_except: Vec::new(),
            subscribe: own(self.subscribes),
        };
        let inbox = format!("{}.>", inbox_prefix(self.workload.name()));
        permissions.subscribe.push(inbox.clone());
        for consumer in self.consumers {
            permissions.publish.extend(consumer_requests(*consumer));
        }
        if self.follows_stream {
            permissions.publish.push(api("STREAM.INFO"));
            permissions.publish.extend(follower_requests("*"));
            // A consumer without a name gets a random one, which no pattern tells from those of the services.
            let others = BUS_ACCESS.iter().flat_map(|access| access.consumers);
            let requests = others.flat_map(|consumer| follower_requests(consumer.name));
            permissions.publish_except.extend(requests);
        }
        // A message that another replica answers is answered to the inbox of this user.
        if self.subscribes.contains(&SEAT_SUBJECTS) {
            permissions.publish.push(inbox);
        }
        // An empty list would permit everything.
        if permissions.publish.is_empty() {
            permissions.publish_except.push(ALL_SUBJECTS.to_owned());
        }
        permissions
    }
}

/// Returns what the subjects of a user's answers begin with. Nobody else may subscribe to them.
pub fn inbox_prefix(user: &str) -> String {
    format!("_INBOX.{user}")
}

/// The requests and acknowledgements of a durable consumer. The subject of its creation contains its filter, so that it
/// cannot be created for other events.
fn consumer_requests(consumer: DurableConsumer) -> [String; 4] {
    let DurableConsumer { name, filter } = consumer;
    [
        format!("{}.{name}", api("CONSUMER.INFO")),
        format!("{}.{name}.{filter}", api("CONSUMER.CREATE")),
        format!("{}.{name}", api("CONSUMER.MSG.NEXT")),
        format!("$JS.ACK.{STREAM_NAME}.{name}.>"),
    ]
}

/// The requests of a consumer that reads the whole stream and ends with its process.
fn follower_requests(name: &str) -> [String; 4] {
    [
        format!("{}.{name}", api("CONSUMER.INFO")),
        format!("{}.{name}.{STREAM_SUBJECTS}", api("CONSUMER.CREATE")),
        format!("{}.{name}", api("CONSUMER.MSG.NEXT")),
        format!("{}.{name}", api("CONSUMER.DELETE")),
    ]
}

/// Returns the subject of a request to JetStream about the stream of events.
fn api(request: &str) -> String {
    format!("$JS.API.{request}.{STREAM_NAME}")
}

/// Renders the users of a NATS server, whose passwords are variables of its environment.
pub fn render_bus_users() -> String {
    let mut text = "# Made by `cargo dev docs` from proto/src/access/bus.rs: what each process may do on NATS.\n\
                    authorization {\n  users: [\n"
        .to_owned();
    for access in BUS_ACCESS {
        let permissions = access.permissions();
        let publish = [
            render_list("allow", &permissions.publish),
            render_list("deny", &permissions.publish_except),
        ];
        let publish = publish.concat();
        let subscribe = render_list("allow", &permissions.subscribe);
        text += &format!(
            "    {{\n      {}\n      permissions: {{\n        publish: {{\n{publish}        }}\n        \
             subscribe: {{\n{subscribe}        }}\n      }}\n    }}\n",
            render_login(access.workload.name()),
        );
    }
    text + &format!("    {{ {} }}\n  ]\n}}\n", render_login(BUS_OPERATOR))
}

fn render_login(user: &str) -> String {
    let variable = user.to_uppercase().replace('-', "_");
    format!("user: {user}, password: ${variable}_PASSWORD")
}

/// Renders a list of subjects, or nothing for none.
fn render_list(key: &str, subjects: &[String]) -> String {
    if subjects.is_empty() {
        return String::new();
    }
    let lines = subjects
        .iter()
        .map(|subject| format!("            \"{subject}\"\n"));
    format!(
        "          {key}: [\n{}          ]\n",
        lines.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EVENT_SUBJECTS;

    #[test]
    fn every_event_has_one_publisher_which_its_subject_names() {
        for subject in EVENT_SUBJECTS {
            let context = subject.split('.').nth(1).expect("events.<context>.<name>");
            let pattern = format!("events.{context}.>");
            let publishers = BUS_ACCESS
                .iter()
                .filter(|access| access.publishes.contains(&pattern.as_str()))
                .map(|access| access.workload.name());
            assert_eq!(publishers.collect::<Vec<_>>(), [context], "{subject}");
        }
    }

    #[test]
    fn every_process_has_one_access_and_consumers_of_its_own() {
        assert_eq!(BUS_ACCESS.map(|access| access.workload), Workload::ALL);
        for access in BUS_ACCESS {
            let own = format!("{}-", access.workload.name());
            for consumer in access.consumers {
                assert!(consumer.name.starts_with(&own), "{consumer:?}");
            }
        }
    }

    #[test]
    fn the_users_of_the_servers_are_those_of_the_table() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nats/users.conf");
        let users = std::fs::read_to_string(file).expect("deploy/nats/users.conf");
        assert!(users == render_bus_users(), "run `cargo dev docs`");
    }
}
