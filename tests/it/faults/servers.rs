//! MySQL and RabbitMQ of all runs: killed often, so they are nobody else's.

use std::path::{Path, PathBuf};
use std::process::Command;

use firstcome::dev::{MysqlOptions, PrivateMysql, PrivateRabbitmq, RabbitmqOptions, ServerBinaries, ports};
use rustix::process::{Pid, Signal, kill_process};

use crate::test_servers;

pub struct Servers {
    pub mysql: PrivateMysql,
    pub rabbitmq: PrivateRabbitmq,
    pub folder: PathBuf,
    binaries: ServerBinaries,
    /// Whether RabbitMQ has been stopped in good order since its queue was declared.
    pub queue_is_registered: bool,
}

impl Servers {
    pub async fn start() -> Self {
        let (binaries, folder) = (test_servers::binaries(), test_servers::fresh_folder());
        let (mysql_port, rabbitmq_port) = (ports::free().unwrap(), ports::free().unwrap());
        // Small, because the folder is copied.
        let options = MysqlOptions { extra_args: vec!["--loose-innodb-log-file-size=16M".to_owned()] };
        let (mysql, rabbitmq) = tokio::try_join!(
            PrivateMysql::start(&binaries, &folder, mysql_port, options),
            PrivateRabbitmq::start(&binaries, &folder, rabbitmq_port, RabbitmqOptions::default()),
        )
        .expect("private servers start");
        Self { mysql, rabbitmq, folder, binaries, queue_is_registered: false }
    }

    /// SIGSTOP or SIGCONT for MySQL.
    pub fn signal_mysql(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.mysql.pid() as i32).unwrap(), signal).unwrap();
    }

    pub fn mysql_folder(&self) -> PathBuf {
        self.folder.join("mysql")
    }

    /// Runs `rabbitmqctl` against this broker.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) {
        let beside = |path: &Path| path.parent().unwrap().join("rabbitmqctl");
        let program =
            [self.binaries.rabbitmq_server.canonicalize().unwrap(), self.binaries.rabbitmq_server.clone()]
                .iter()
                .map(|it| beside(it))
                .find(|it| it.exists())
                .expect("rabbitmqctl lies beside rabbitmq-server");
        let epmd = std::fs::read_to_string(self.folder.join("rabbitmq-epmd.port")).unwrap();
        let mut command = Command::new(program);
        command
            .args(["--node", "firstcome@localhost"])
            .args(arguments)
            .env("HOME", self.folder.join("rabbitmq"))
            .env("ERL_EPMD_PORT", epmd.trim())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("LANG", "C.UTF-8");
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(
            done.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&path, &target);
        } else if kind.is_file() {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
