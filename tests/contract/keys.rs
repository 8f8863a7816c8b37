//! Redis refuses a process every key that is not declared for it, and commands that reveal or affect the keys of others. The
//! cases are generated from the declarations.

use talktime_kit::redis::commands::{ClientLike, KeysInterface};
use talktime_kit::redis::{self, Pool, Script};
use talktime_kit::testing::{TlsStream, secure_stream, stack_redis};
use talktime_proto::access::{KEY_ACCESS, KeyAccess};
use talktime_tests::{WAIT_MAX, read_variable};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Commands of operators.
const COMMANDS: [&str; 12] = [
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "FLUSHDB",
    "FLUSHALL",
    "CONFIG GET maxmemory",
    "ACL LIST",
    "CLIENT LIST",
    "PUBLISH channel message",
    "FUNCTION LIST",
    "SCRIPT FLUSH",
];
/// The end of keys that nobody uses.
const SUFFIX: &str = "tests-of-access";

/// The outcome of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CommandOutcome {
    Done,
    Refused,
}

/// Returns the password of a process.
fn read_password(user: &str) -> String {
    read_variable(&format!("{}_REDIS_PASSWORD", user.to_uppercase()))
}

/// Opens a connection without a user, and without TLS.
async fn open_plain_connection() -> TcpStream {
    let url = read_variable("REDIS_URL");
    let (_, address) = url
        .split_once('@')
        .expect("rediss://operator:password@host:port");
    TcpStream::connect(address).await.expect("Redis is up")
}

/// Opens a connection without a user.
async fn open_connection() -> BufReader<TlsStream<TcpStream>> {
    let stream = open_plain_connection().await;
    BufReader::new(secure_stream(stream, "REDIS_CA_FILE").await)
}

/// Sends a command as a line; returns the first line of the answer.
async fn run_command(redis: &mut BufReader<TlsStream<TcpStream>>, command: &str) -> String {
    let line = format!("{command}\r\n");
    let sent = redis.get_mut().write_all(line.as_bytes()).await;
    sent.expect("connected");
    redis.get_mut().flush().await.expect("connected");
    let mut answer = String::new();
    let answered = timeout(WAIT_MAX, redis.read_line(&mut answer)).await;
    answered.expect("in time").expect("an answer");
    answer.trim_end().to_owned()
}

/// Logs in as a process.
async fn log_in(access: &KeyAccess) -> Pool {
    let user = access.workload.name();
    let password = read_password(user);
    let url = read_variable("REDIS_URL");
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (_, address) = rest
        .split_once('@')
        .expect("rediss://operator:password@host:port");
    let url = format!("{scheme}://{user}:{password}@{address}");
    let redis = redis::connect(&stack_redis(url)).expect("a valid address");
    redis
        .wait_for_connect()
        .await
        .expect("the process may log in");
    redis
}

fn outcome<T>(answer: Result<T, impl std::fmt::Display>) -> CommandOutcome {
    match answer {
        Ok(_) => CommandOutcome::Done,
        Err(error) => {
            let error = error.to_string();
            assert!(is_refusal(&error), "{error}");
            CommandOutcome::Refused
        }
    }
}

/// Returns whether Redis refused a command, or one of a script, for lack of a right.
fn is_refusal(error: &str) -> bool {
    ["NOPERM", "can't access", "can't run"]
        .iter()
        .any(|words| error.contains(words))
}

async fn read(redis: &Pool, key: &str) -> CommandOutcome {
    outcome(redis.get::<Option<String>, _>(key).await)
}

async fn write(redis: &Pool, key: &str) -> CommandOutcome {
    outcome(redis.set::<(), _, _>(key, "1", None, None, false).await)
}

/// Reads and writes a key by a script that does not declare it.
async fn write_by_script(redis: &Pool, key: &str) -> CommandOutcome {
    let script = Script::from_lua(format!("return redis.call('SET', '{key}', '1')"));
    let none = Vec::<String>::new;
    outcome(
        script
            .evalsha_with_reload::<String, _, _>(redis.next(), none(), none())
            .await,
    )
}

fn permitted(is_permitted: bool) -> CommandOutcome {
    if is_permitted {
        CommandOutcome::Done
    } else {
        CommandOutcome::Refused
    }
}

#[tokio::test]
async fn every_process_reads_and_writes_the_keys_that_are_declared_for_it_and_no_others() {
    let declared = KEY_ACCESS.iter().flat_map(|access| access.writes).copied();
    // The beginnings of declared ones do not permit others.
    let prefixes: Vec<&str> = declared.chain(["", "o", "otp", "anything:"]).collect();
    for access in KEY_ACCESS {
        let redis = log_in(&access).await;
        for prefix in &prefixes {
            let key = format!("{prefix}{SUFFIX}");
            let may_write = access.writes.contains(prefix);
            let may_read = may_write || access.reads.contains(prefix);
            let process = access.workload.name();
            assert_eq!(
                read(&redis, &key).await,
                permitted(may_read),
                "{process}: {key}"
            );
            assert_eq!(
                write(&redis, &key).await,
                permitted(may_write),
                "{process}: {key}"
            );
            let by_script = write_by_script(&redis, &key).await;
            assert_eq!(
                by_script,
                permitted(may_write),
                "{process}: {key} by a script"
            );
            if may_write {
                redis.del::<(), _>(&key).await.expect("its own key");
            }
        }
    }
}

#[tokio::test]
async fn no_process_may_run_commands_of_operators() {
    for access in KEY_ACCESS {
        let user = access.workload.name();
        let mut redis = open_connection().await;
        let login = format!("AUTH {user} {}", read_password(user));
        assert_eq!(run_command(&mut redis, &login).await, "+OK", "{user}");
        for command in COMMANDS {
            let answer = run_command(&mut redis, command).await;
            assert!(answer.starts_with("-NOPERM"), "{user}: {command}: {answer}");
        }
    }
}

#[tokio::test]
async fn nobody_reads_without_a_password() {
    let mut redis = open_connection().await;
    let answer = run_command(&mut redis, "GET otp:+919876543210").await;
    assert!(answer.starts_with("-NOAUTH"), "{answer}");
}

#[tokio::test]
async fn redis_takes_no_password_in_clear() {
    let mut redis = open_plain_connection().await;
    let login = format!("AUTH auth {}\r\nPING\r\n", read_password("auth"));
    let sent = redis.write_all(login.as_bytes()).await;
    sent.expect("the connection is open");
    let mut answer = Vec::new();
    // The server closes the connection, in one way or the other.
    let ended = timeout(WAIT_MAX, redis.read_to_end(&mut answer)).await;
    let _closed = ended.expect("closed in time");
    let answer = String::from_utf8_lossy(&answer);
    let replies = ["+OK", "PONG", "-NOAUTH", "-WRONGPASS"];
    assert!(
        !replies.iter().any(|reply| answer.contains(reply)),
        "{answer}"
    );
}
