//! Confines a thread to the files that are open, by seccomp: it can read, calculate and write, and nothing else. A parser
//! that a hostile file has taken over finds no network, no other file and no other process.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// The system calls that reading, calculating and writing need, with those for memory, locks and the end of threads.
const PERMITTED: [i64; 33] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];
/// Calls that ask for the length of a file, with the position of the flags among their arguments.
const STAT_CALLS: [(i64, u8); 2] = [(libc::SYS_newfstatat, 3), (libc::SYS_statx, 2)];

/// Confines the calling thread, and the threads that it might start, until it ends. A system call that is not permitted
/// fails with `EPERM`.
///
/// # Errors
/// The kernel has no seccomp, or this architecture is not known.
pub(super) fn confine_to_open_files() -> anyhow::Result<()> {
    let filter = SeccompFilter::new(
        permitted_calls()?,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        SeccompAction::Allow,
        ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter(&program)?;
    Ok(())
}

fn permitted_calls() -> anyhow::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = PERMITTED
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect();
    for (call, flags_position) in STAT_CALLS {
        let of_open_file = SeccompCondition::new(
            flags_position,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::from(libc::AT_EMPTY_PATH.cast_unsigned()),
        )?;
        calls.insert(call, vec![SeccompRule::new(vec![of_open_file])?]);
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read};
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// The kinds of errors of everything that a confined thread must not do.
    fn attempt_everything(address: std::net::SocketAddr) -> Vec<(&'static str, Option<ErrorKind>)> {
        fn kind<T>(done: std::io::Result<T>) -> Option<ErrorKind> {
            done.err().map(|error| error.kind())
        }
        vec![
            ("connect", kind(TcpStream::connect(address))),
            ("listen", kind(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))),
            ("datagram", kind(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))),
            ("socket file", kind(UnixStream::connect("/run/nothing"))),
            ("read", kind(File::open("/proc/self/environ"))),
            ("list", kind(std::fs::read_dir("/"))),
            ("write", kind(std::fs::write("/dev/null", "x"))),
            ("remove", kind(std::fs::remove_file("/nothing"))),
            ("run", kind(Command::new("/bin/true").status())),
        ]
    }

    #[test]
    fn a_confined_thread_has_its_open_files_and_nothing_else() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut opened = File::open("/proc/self/comm").expect("our own");
        let confined = std::thread::spawn(move || {
            confine_to_open_files().expect("the kernel has seccomp");
            let mut content = String::new();
            opened.read_to_string(&mut content).expect("it is open");
            let length = opened.metadata().expect("it is open").len();
            (content, length, attempt_everything(address))
        });
        let (content, _, attempts) = confined.join().expect("it ends by itself");
        assert!(!content.is_empty());
        for (attempt, kind) in attempts {
            assert_eq!(kind, Some(ErrorKind::PermissionDenied), "{attempt}");
        }
        // Without the filter most of it succeeds.
        let free = attempt_everything(address);
        let succeeded = free.iter().filter(|(_, kind)| kind.is_none()).count();
        assert_eq!(succeeded, 7, "{free:?}");
    }
}
