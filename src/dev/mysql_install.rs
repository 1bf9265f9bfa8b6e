//! The first start of a private MariaDB or MySQL: making its data folder.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::dev::{
    binaries::{SqlFlavour, find_program, is_executable},
    data_folder,
    process::ServerProcess,
    server_error::ServerError,
};

/// The name under which the initialisation logs.
const INSTALLER: &str = "mysql-install";

/// Makes the data folder, unless there is one. It is made under another name and renamed when it
/// is complete, so a half-made one is never taken for a whole.
pub(super) async fn initialise(
    mysqld: &Path,
    flavour: SqlFlavour,
    data_dir: &Path,
) -> Result<(), ServerError> {
    let folder = data_dir.join("mysql");
    if folder.is_dir() {
        return Ok(());
    }
    let half_made = data_dir.join("mysql.new");
    let mut command = match flavour {
        SqlFlavour::MariaDb => mariadb_installer(mysqld)?,
        SqlFlavour::MySql => {
            let mut command = Command::new(mysqld);
            command.args(["--no-defaults", "--initialize-insecure"]).args(user_option());
            command
        }
    };
    command.arg(path_option("--datadir", &half_made));
    command.arg(path_option("--tmpdir", &temporary(data_dir)?));

    // Only once the last installer has left: its reaper may be killing it at this moment.
    data_folder::wait_until_left(INSTALLER, data_dir).await?;
    if half_made.exists() {
        fs::remove_dir_all(&half_made).map_err(data_folder::io_error(
            INSTALLER,
            "cannot remove",
            &half_made,
        ))?;
    }
    data_folder::create_for(INSTALLER, &half_made)?;
    ServerProcess::spawn(INSTALLER, &mut command, data_dir).await?.wait_success().await?;
    fs::rename(&half_made, &folder).map_err(data_folder::io_error(INSTALLER, "cannot rename", &half_made))
}

/// A folder of its own for temporary tables: a MariaDB that starts deletes what it finds in a shared one, also what
/// another server is working with.
pub(super) fn temporary(data_dir: &Path) -> Result<PathBuf, ServerError> {
    let folder = data_dir.join("mysql.tmp");
    data_folder::create_for(INSTALLER, &folder)?;
    Ok(folder)
}

/// MariaDB's script that makes a data folder; it lies beside the server or in `PATH`.
fn mariadb_installer(mysqld: &Path) -> Result<Command, ServerError> {
    let real = mysqld.canonicalize().unwrap_or_else(|_| mysqld.to_path_buf());
    let base = real.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let beside = ["bin", "scripts", "sbin"]
        .iter()
        .flat_map(|folder| {
            ["mariadb-install-db", "mysql_install_db"].map(|name| base.join(folder).join(name))
        })
        .find(|program| is_executable(program));
    let mut command = match (beside, find_program("mariadb-install-db")) {
        (Some(program), _) => {
            let mut command = Command::new(program);
            // Its tables are to be of the same version as the server.
            command.args(["--no-defaults".into(), path_option("--basedir", base)]);
            command
        }
        (None, Some(program)) => {
            let mut command = Command::new(program);
            command.arg("--no-defaults");
            command
        }
        (None, None) => {
            return Err(ServerError::NoProgram {
                server: INSTALLER,
                missing: "mariadb-install-db",
                near: mysqld.to_path_buf(),
            });
        }
    };
    command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    if rustix::process::geteuid().is_root() {
        // `--user` would have the script change the owner of the system's PAM plug-in, and fail
        // where the path has a space. It hands an option that it does not know to the server.
        command.arg("--loose-user=root");
    }
    Ok(command)
}

/// Both servers refuse to run as root unless they are told to.
pub(super) fn user_option() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

pub(super) fn path_option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(path);
    option
}
