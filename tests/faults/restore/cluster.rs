//! A Postgres server whose backup and log go to the S3 of the stack, and its restored copy.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::future::join_all;
use sqlx::{AssertSqlSafe, PgPool};
use talktime_kit::testing::{PrivatePostgres, as_postgres};
use talktime_tests::{SERVICES, read_variable, run_dev, wait_for};
use tempfile::{NamedTempFile, TempDir};
use tokio::process::Command;

/// As many as the server of the stack permits.
const MAX_CONNECTIONS: &str = "max_connections=300";

/// A bucket for one cluster's backup and log.
pub(super) struct BackupBucket {
    url: String,
    /// The authority of the store's certificate, where the user of the server can read it.
    authority: NamedTempFile,
    /// Where the wallet anchors its chains, which a restored database does not take back.
    anchors: TempDir,
}

impl BackupBucket {
    pub(super) async fn create() -> Self {
        let name = format!("backups-{}", std::process::id());
        let url = format!("{}/{name}", read_variable("S3_ENDPOINT"));
        let authority = NamedTempFile::new().expect("a file");
        let issued = std::fs::read(read_variable("S3_CA_FILE")).expect("readable");
        std::fs::write(&authority, issued).expect("written");
        let readable = Permissions::from_mode(0o644);
        std::fs::set_permissions(&authority, readable).expect("our own file");
        let anchors = tempfile::tempdir().expect("a folder");
        let bucket = Self {
            url,
            authority,
            anchors,
        };
        bucket.run_curl(&["-X", "PUT", &bucket.url]).await;
        bucket
    }

    /// The settings of the server that writes its log here.
    fn archive_settings(&self) -> Vec<String> {
        let url = &self.url;
        let archive = format!("{} -T \"%p\" {url}/wal/%f", self.curl_line());
        vec![
            MAX_CONNECTIONS.to_owned(),
            "archive_mode=on".to_owned(),
            format!("archive_command={archive}"),
        ]
    }

    /// The settings of a server that reads the log up to an instant and then accepts writes.
    fn recovery_settings(&self, instant: &str) -> Vec<String> {
        let url = &self.url;
        vec![
            MAX_CONNECTIONS.to_owned(),
            format!(
                "restore_command={} -o \"%p\" {url}/wal/%f",
                self.curl_line()
            ),
            format!("recovery_target_time={instant}"),
            "recovery_target_action=promote".to_owned(),
        ]
    }

    async fn store_backup(&self, file: &Path) {
        let url = format!("{}/base.tar", self.url);
        self.run_curl(&["-T", file.to_str().expect("a plain path"), &url])
            .await;
    }

    async fn fetch_backup(&self, file: &Path) {
        let url = format!("{}/base.tar", self.url);
        self.run_curl(&["-o", file.to_str().expect("a plain path"), &url])
            .await;
    }

    /// The arguments with which curl signs a request to the S3 of the stack.
    fn curl_arguments(&self) -> Vec<String> {
        let signature = format!("aws:amz:{}:s3", read_variable("S3_REGION"));
        let keys = format!(
            "{}:{}",
            read_variable("S3_ACCESS_KEY"),
            read_variable("S3_SECRET_KEY")
        );
        let content = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
        let authority = self.authority.path().to_str().expect("a plain path");
        let fixed = ["--silent", "--fail", "--aws-sigv4", &signature];
        let given = ["--user", &keys, "-H", content, "--cacert", authority];
        fixed.into_iter().chain(given).map(str::to_owned).collect()
    }

    fn curl_line(&self) -> String {
        let quoted = self.curl_arguments().into_iter();
        let quoted: Vec<String> = quoted.map(|argument| format!("'{argument}'")).collect();
        format!("curl {}", quoted.join(" "))
    }

    async fn run_curl(&self, arguments: &[&str]) {
        let mut command = Command::new("curl");
        command.args(self.curl_arguments()).args(arguments);
        run(&mut command).await;
    }
}

async fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A server with the schemas of all services.
pub(super) struct DrillCluster {
    pub(super) postgres: PrivatePostgres,
    /// A pool of the superuser in the database of the platform.
    pub(super) pool: PgPool,
    anchors: PathBuf,
}

impl DrillCluster {
    /// Creates an empty platform whose log is archived, and its backup.
    pub(super) async fn create(bucket: &BackupBucket) -> Self {
        let mut postgres = PrivatePostgres::create("password").await;
        postgres.start(&bucket.archive_settings());
        let cluster = Self::connect(postgres, bucket).await;
        cluster.bootstrap().await;
        cluster.back_up(bucket).await;
        cluster
    }

    /// Restores the backup, and the log up to an instant, into a server beside the old one.
    pub(super) async fn restore(bucket: &BackupBucket, instant: &str) -> Self {
        let mut postgres = PrivatePostgres::without_cluster().await;
        let data_dir = postgres.data_dir().to_owned();
        let backup = data_dir.with_extension("tar");
        bucket.fetch_backup(&backup).await;
        let unpack = r#"chmod 700 "$2" && tar -xf "$1" -C "$2" && touch "$2/recovery.signal""#;
        let mut shell = as_postgres("/bin/sh");
        shell.args(["-c", unpack, "sh"]).arg(&backup).arg(&data_dir);
        run(&mut shell).await;
        std::fs::remove_file(&backup).expect("removed");
        postgres.start(&bucket.recovery_settings(instant));
        let cluster = Self::connect(postgres, bucket).await;
        wait_for("the end of the recovery", || async {
            let is_recovering = sqlx::query_scalar("SELECT pg_is_in_recovery()");
            let is_recovering: bool = is_recovering.fetch_one(&cluster.pool).await.ok()?;
            (!is_recovering).then_some(())
        })
        .await;
        cluster
    }

    async fn connect(postgres: PrivatePostgres, bucket: &BackupBucket) -> Self {
        let postgres_pool = PgPool::connect_lazy_with(postgres.connect_options());
        wait_for("the server", || async {
            let answered = sqlx::query("SELECT 1").execute(&postgres_pool).await;
            answered.ok()
        })
        .await;
        postgres_pool.close().await;
        let options = postgres.connect_options().database("talktime");
        Self {
            postgres,
            pool: PgPool::connect_lazy_with(options),
            anchors: bucket.anchors.path().to_owned(),
        }
    }

    async fn bootstrap(&self) {
        let options = self.postgres.connect_options();
        let postgres = PgPool::connect_lazy_with(options);
        let created = sqlx::query("CREATE DATABASE talktime").execute(&postgres);
        created.await.expect("created");
        postgres.close().await;
        join_all(SERVICES.map(|service| self.bootstrap_service(service))).await;
    }

    async fn bootstrap_service(&self, service: &str) {
        let upper = service.to_uppercase();
        let owner = read_password(&format!("{upper}_OWNER_DATABASE_URL"));
        let app = read_password(&format!("{upper}_APP_DATABASE_URL"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/bootstrap.sql");
        let script = std::fs::read_to_string(script).expect("a script");
        let mut psql = self.postgres.client("psql");
        psql.args(["--no-psqlrc", "--quiet", "--dbname=talktime"])
            .args(["-v", "ON_ERROR_STOP=1", "-v"])
            .arg(format!("service={service}"))
            .arg("-v")
            .arg(format!("owner_password={owner}"))
            .arg("-v")
            .arg(format!("app_password={app}"));
        run_with_input(&mut psql, &script).await;
        let variables = self.variables();
        let mut arguments = vec!["run"];
        for variable in &variables {
            arguments.extend(["--env", variable]);
        }
        arguments.extend([service, "migrate"]);
        run_dev(&arguments).await;
    }

    async fn back_up(&self, bucket: &BackupBucket) {
        let folder = self.postgres.data_dir().with_extension("backup");
        let mut backup = self.postgres.client("pg_basebackup");
        backup.args(["--checkpoint=fast", "--no-sync", "-Ft", "-X", "none", "-D"]);
        run(backup.arg(&folder)).await;
        bucket.store_backup(&folder.join("base.tar")).await;
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    /// The variables that point every service to this server, each `NAME=value`.
    pub(super) fn variables(&self) -> Vec<String> {
        let anchors = self.anchors.display();
        let mut variables = vec![format!("TALKTIME_WALLET__ANCHORS__FOLDER={anchors}")];
        for service in SERVICES {
            let upper = service.to_uppercase();
            for role in ["APP", "OWNER"] {
                let url = self.move_url(&read_variable(&format!("{upper}_{role}_DATABASE_URL")));
                variables.push(format!("TALKTIME_{upper}__DATABASE__{role}_URL={url}"));
            }
        }
        variables
    }

    /// Returns the URL with the port of this server, which has no certificate, in place of its own.
    fn move_url(&self, url: &str) -> String {
        let mut url: reqwest::Url = url.parse().expect("a URL");
        url.set_port(Some(self.postgres.port())).expect("a host");
        url.set_query(None);
        url.into()
    }

    /// The clock of the server.
    pub(super) async fn read_clock(&self) -> String {
        let clock = sqlx::query_scalar("SELECT clock_timestamp()::text");
        clock.fetch_one(&self.pool).await.expect("readable")
    }

    /// Waits until everything that was committed is in the archive.
    pub(super) async fn wait_until_archived(&self) {
        let switched = sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())");
        let segment: String = switched.fetch_one(&self.pool).await.expect("switched");
        wait_for("the archive", || async {
            let archived = sqlx::query_scalar("SELECT last_archived_wal FROM pg_stat_archiver");
            let archived: Option<String> = archived.fetch_one(&self.pool).await.ok()?;
            (archived? >= segment).then_some(())
        })
        .await;
    }

    /// Counts the rows that a condition selects.
    pub(super) async fn count(&self, table: &str, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
        let counted = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool);
        counted.await.expect("readable")
    }
}

async fn run_with_input(command: &mut Command, input: &str) {
    use tokio::io::AsyncWriteExt;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = child.expect("the program runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).await.expect("read");
    drop(stdin);
    assert!(child.wait().await.expect("it ends").success());
}

/// The password in the URL of this variable.
fn read_password(variable: &str) -> String {
    let url = read_variable(variable);
    let (before, _) = url.rsplit_once('@').expect("a password and a host");
    let (_, password) = before.rsplit_once(':').expect("a password");
    password.to_owned()
}
