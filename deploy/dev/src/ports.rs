//! Whether the ports a stack needs are free, and who holds them if not.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::instance::Instance;
use crate::stack::Stack;
use crate::{procfs, wait};

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";
/// How long a port may be taken by nobody.
const PASSING_MAX: Duration = Duration::from_secs(5);

/// Fails, naming every port of these that is taken together with its holder.
pub(crate) fn require_free(stack: &Stack, instances: &[Instance]) -> Result<()> {
    let mut taken = String::new();
    for instance in instances {
        for port in stack.ports(*instance) {
            if !becomes_free(port) {
                let _ = write!(taken, "\n  port {port} ({instance}) is taken{}", by(port));
            }
        }
    }
    if !taken.is_empty() {
        bail!("the stack `{}` cannot start:{taken}", stack.name());
    }
    Ok(())
}

/// Whether it is free, now or as soon as whoever had it is gone: a dead process may keep its port a
/// moment longer than its name.
fn becomes_free(port: u16) -> bool {
    let in_passing = || !is_free(port) && holder(port).is_none();
    wait::until(Instant::now() + PASSING_MAX, || !in_passing()) && is_free(port)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// ` by pid 17: redis-server *:7379`, or nothing where that cannot be known.
fn by(port: u16) -> String {
    let Some(pid) = holder(port) else {
        return String::new();
    };
    let command = procfs::command_line(pid).unwrap_or_default();
    format!(" by pid {pid}: {command}")
}

fn holder(port: u16) -> Option<i32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    procfs::pids().find(|pid| has_open(*pid, &socket))
}

fn has_open(pid: i32, socket: &str) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(socket)))
}

/// The inode of the socket that listens on the port, from a table like /proc/net/tcp:
/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let matches =
            u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1CD3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1
   1: 0100007F:1CD8 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000   104        0 555 1
   2: 0100007F:1CD8 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 777 1
";

    #[test]
    fn the_listening_socket_is_found_and_not_a_connection_of_the_same_port() {
        assert_eq!(listening_inode(TABLE, 7379), Some(31337));
        assert_eq!(listening_inode(TABLE, 7384), Some(777));
        assert_eq!(listening_inode(TABLE, 8080), None);
    }

    #[test]
    fn addresses_of_version_6_are_read_too() {
        let table = "sl\n 0: 00000000000000000000000000000000:1F90 \
                     00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4711 1";
        assert_eq!(listening_inode(table, 8080), Some(4711));
    }

    #[test]
    fn the_holder_of_a_port_we_opened_is_this_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert!(!is_free(port));
        if procfs::is_available() {
            let own = i32::try_from(std::process::id()).expect("pids are small");
            assert_eq!(holder(port), Some(own));
        }
    }
}
