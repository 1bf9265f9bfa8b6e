//! A private MariaDB or MySQL that makes every commit durable.

use std::ops::{Deref, DerefMut};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use crate::dev::{
    binaries::ServerBinaries,
    data_folder,
    mysql_install::{initialise, path_option, temporary, user_option},
    process::ServerProcess,
    readiness::mysql_is_ready,
    server_error::ServerError,
};

const SERVER: &str = "mysql";
/// InnoDB writes its dirty pages before it leaves.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Longest path of a unix socket that both servers take, in bytes; Linux allows 107.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Run at every start, by both servers. It makes sure that `root` gets in over TCP, where the
/// servers see 127.0.0.1 and not `localhost`. One statement per line, because MySQL wants that.
const INIT_SQL: &str = "\
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '';
ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
";

/// What can differ between private MySQL servers.
#[derive(Debug, Clone, Default)]
pub struct MysqlOptions {
    /// Further arguments of the server; a setting given here wins.
    pub extra_args: Vec<String>,
}

impl MysqlOptions {
    /// Room for a sale's writes, as ops/mysql.cnf has it: with the 100 MB that both servers come with, the redo log is full
    /// after seconds of a rush, and commits wait for pages.
    pub fn for_sales() -> Self {
        let args = [
            "--innodb-buffer-pool-size=1G",
            "--loose-innodb-redo-log-capacity=512M",
            "--loose-innodb-log-file-size=512M",
        ];
        Self { extra_args: args.map(str::to_owned).into() }
    }
}

/// A running MariaDB or MySQL server with its data in `<data_dir>/mysql`.
#[derive(Debug)]
pub struct PrivateMysql {
    mysqld: PathBuf,
    data_dir: PathBuf,
    port: u16,
    options: MysqlOptions,
    process: ServerProcess,
}

impl Deref for PrivateMysql {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.process
    }
}

impl DerefMut for PrivateMysql {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }
}

impl PrivateMysql {
    /// Starts the server, initialises its data folder first if there is none, and waits until
    /// `root` can log in.
    ///
    /// # Errors
    /// When the initialisation fails, or the server is not ready within two minutes after it.
    pub async fn start(
        binaries: &ServerBinaries,
        data_dir: &Path,
        port: u16,
        options: MysqlOptions,
    ) -> Result<Self, ServerError> {
        let mysqld = binaries.mysqld.clone();
        let data_dir = data_folder::absolute(SERVER, data_dir)?;
        initialise(&mysqld, binaries.sql_flavour, &data_dir).await?;
        let process = launch(&mysqld, &data_dir, port, &options).await?;
        Ok(Self { mysqld, data_dir, port, options, process })
    }

    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/", self.port)
    }

    /// Stops the server with SIGTERM; kills it when it has not left after 30 seconds.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOP_GRACE).await
    }

    /// Starts the server again on the same port with the same data; kills it first if it is alive.
    ///
    /// # Errors
    /// When the server is not ready within two minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.kill().await;
        self.process = launch(&self.mysqld, &self.data_dir, self.port, &self.options).await?;
        Ok(())
    }
}

async fn launch(
    mysqld: &Path,
    data_dir: &Path,
    port: u16,
    options: &MysqlOptions,
) -> Result<ServerProcess, ServerError> {
    let init_file = data_dir.join("mysql-init.sql");
    data_folder::write(SERVER, &init_file, INIT_SQL)?;
    let socket = socket(data_dir, port);
    let temporary = temporary(data_dir)?;
    // MySQL leaves a lock behind when it is killed, and then refuses to start for as long as any
    // process has the pid written in there, be it a zombie. Nobody uses this folder by now.
    data_folder::wait_until_left(SERVER, data_dir).await?;
    for stale in [&socket, &socket.with_added_extension("lock")] {
        let _ = fs::remove_file(stale);
    }
    let mut command = Command::new(mysqld);
    command
        // Both servers want it first; without it they would read the system's settings.
        .arg("--no-defaults")
        .args(user_option())
        .arg(path_option("--datadir", &data_dir.join("mysql")))
        .arg(path_option("--socket", &socket))
        .arg(path_option("--pid-file", &data_dir.join("mysql.pid")))
        .arg(path_option("--init-file", &init_file))
        .arg(path_option("--tmpdir", &temporary))
        .arg(format!("--port={port}"))
        .arg("--bind-address=127.0.0.1")
        // Else a few hang-ups from 127.0.0.1 would block that address.
        .arg("--skip-name-resolve")
        // A commit is on the disk before it is acknowledged.
        .arg("--innodb-flush-log-at-trx-commit=1")
        // There is no replica to feed.
        .arg("--skip-log-bin")
        .arg("--default-time-zone=+00:00")
        .arg("--character-set-server=utf8mb4")
        .arg("--max-allowed-packet=64M")
        .arg("--max-connections=500")
        .arg("--innodb-buffer-pool-size=256M")
        // Saves about 100 MB of memory.
        .arg("--performance-schema=OFF")
        // The X plug-in of MySQL listens on a port of its own; `loose`, as MariaDB has none.
        .arg("--loose-mysqlx=OFF")
        .args(&options.extra_args);
    let mut process = ServerProcess::spawn(SERVER, &mut command, data_dir).await?;
    process.wait_until_ready(async || mysql_is_ready(port).await).await?;
    Ok(process)
}

/// In the data folder, or where that path is too long for a socket, among the temporary files;
/// the port keeps it apart from others there.
fn socket(data_dir: &Path, port: u16) -> PathBuf {
    let name = format!("firstcome-mysql-{port}.sock");
    [data_dir.join("mysql.sock"), env::temp_dir().join(&name)]
        .into_iter()
        .find(|path| path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX)
        .unwrap_or_else(|| Path::new("/tmp").join(name))
}
