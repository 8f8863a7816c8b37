//! Checks that the ports of a stack are free, and names the processes that hold them.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::instance::UnitInstance;
use crate::stack::DevStack;
use crate::{procfs, wait};

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";
/// Longest time for which a port may be in use although no process holds it.
const PASSING_MAX: Duration = Duration::from_secs(5);

/// Fails if ports of these instances are in use; the error names each with its holder.
pub(crate) fn require_free_ports(stack: &DevStack, instances: &[UnitInstance]) -> Result<()> {
    let mut taken = String::new();
    for instance in instances {
        for port in stack.ports(*instance) {
            if !becomes_free(port) {
                let _ = write!(
                    taken,
                    "\n  port {port} ({instance}) is taken{}",
                    describe_holder(port)
                );
            }
        }
    }
    if !taken.is_empty() {
        bail!("the stack `{}` cannot start:{taken}", stack.name());
    }
    Ok(())
}

/// Whether the port is free, possibly after a short wait: the port of a process that has just ended may stay
/// in use for a moment.
fn becomes_free(port: u16) -> bool {
    let is_unheld_but_in_use = || !is_free(port) && find_holder(port).is_none();
    wait::poll_until(Instant::now() + PASSING_MAX, || !is_unheld_but_in_use()) && is_free(port)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns ` by pid 17: redis-server *:7379`, or nothing if the holder is unknown.
fn describe_holder(port: u16) -> String {
    let Some(pid) = find_holder(port) else {
        return String::new();
    };
    let command = procfs::read_command_line(pid).unwrap_or_default();
    format!(" by pid {pid}: {command}")
}

fn find_holder(port: u16) -> Option<i32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| find_listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    procfs::list_pids().find(|pid| has_socket(*pid, &socket))
}

fn has_socket(pid: i32, socket: &str) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(socket)))
}

/// Finds the inode of the socket that listens on the port, in a table like /proc/net/tcp:
/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn find_listening_inode(table: &str, port: u16) -> Option<u64> {
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
    fn the_listening_socket_is_found_beside_connections_of_the_same_port() {
        assert_eq!(find_listening_inode(TABLE, 7379), Some(31337));
        assert_eq!(find_listening_inode(TABLE, 7384), Some(777));
        assert_eq!(find_listening_inode(TABLE, 8080), None);
    }

    #[test]
    fn ipv6_addresses_are_read() {
        let table = "sl\n 0: 00000000000000000000000000000000:1F90 \
                     00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4711 1";
        assert_eq!(find_listening_inode(table, 8080), Some(4711));
    }

    #[test]
    fn this_process_is_the_holder_of_a_port_that_it_opened() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert!(!is_free(port));
        if procfs::is_available() {
            let own = i32::try_from(std::process::id()).expect("pids are small");
            assert_eq!(find_holder(port), Some(own));
        }
    }
}
