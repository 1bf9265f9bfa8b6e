//! Where the programs of the three servers are, and what to install when they are not there.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Searched after `PATH`, because an ordinary user's `PATH` has none of them.
const MORE_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/sbin", "/usr/lib/rabbitmq/bin"];

/// Debian's stand-in for every RabbitMQ command. It changes to the user `rabbitmq` and to that
/// user's folders, which a private server must not do; the real script lies beside it.
const DEBIAN_RABBITMQ_WRAPPER: &str = "rabbitmq-script-wrapper";

/// The programs that the private servers are made of.
#[derive(Debug, Clone)]
pub struct ServerBinaries {
    /// `redis-server`, or `valkey-server`.
    pub redis_server: PathBuf,
    /// `mariadbd`, or `mysqld`.
    pub mysqld: PathBuf,
    /// Which of the two families `mysqld` belongs to.
    pub sql_flavour: SqlFlavour,
    /// RabbitMQ's own start script, never the wrapper that changes the user.
    pub rabbitmq_server: PathBuf,
    /// Erlang's port mapper, through which RabbitMQ registers its node name.
    pub epmd: PathBuf,
}

/// The two families of servers that speak MySQL's protocol; they are initialised differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlFlavour {
    MariaDb,
    MySql,
}

/// A program that `firstcome dev` needs and did not find, or could not run.
#[derive(Debug, thiserror::Error)]
pub enum MissingServer {
    #[error(
        "{binary} was not found: install the Debian package {package}, or name the program with \
         {variable}; the other way to get all servers is `docker compose up`"
    )]
    NotFound { binary: &'static str, package: &'static str, variable: &'static str },
    #[error(
        "{} is not an executable file: correct the path, or install the Debian package {package}; \
         the other way to get all servers is `docker compose up`",
        path.display()
    )]
    NotExecutable { path: PathBuf, package: &'static str },
    #[error("`{} --version` did not run: {source}", path.display())]
    NoVersion { path: PathBuf, source: io::Error },
}

/// How one program is looked for.
struct Wanted {
    names: &'static [&'static str],
    package: &'static str,
    variable: &'static str,
}

const REDIS_SERVER: Wanted = Wanted {
    names: &["redis-server", "valkey-server"],
    package: "redis-server",
    variable: "FIRSTCOME_REDIS_SERVER",
};
const MYSQLD: Wanted =
    Wanted { names: &["mariadbd", "mysqld"], package: "mariadb-server", variable: "FIRSTCOME_MYSQLD" };
const RABBITMQ_SERVER: Wanted =
    Wanted { names: &["rabbitmq-server"], package: "rabbitmq-server", variable: "FIRSTCOME_RABBITMQ_SERVER" };
const EPMD: Wanted = Wanted { names: &["epmd"], package: "erlang-base", variable: "FIRSTCOME_EPMD" };

impl ServerBinaries {
    /// Finds each program: at the given path, else at the path in the environment
    /// (`FIRSTCOME_REDIS_SERVER`, `FIRSTCOME_MYSQLD`, `FIRSTCOME_RABBITMQ_SERVER`), else in
    /// `PATH` and in the folders where Debian puts servers.
    ///
    /// # Errors
    /// Names the first program that is missing and the package that brings it. A path that was
    /// given and is wrong is an error too; nothing else is tried in its place.
    pub fn locate(
        redis_server: Option<PathBuf>,
        mysqld: Option<PathBuf>,
        rabbitmq_server: Option<PathBuf>,
    ) -> Result<Self, MissingServer> {
        let redis_server = REDIS_SERVER.locate(redis_server)?;
        let mysqld = MYSQLD.locate(mysqld)?;
        let rabbitmq_server = behind_debian_wrapper(RABBITMQ_SERVER.locate(rabbitmq_server)?);
        let epmd = EPMD.locate(None)?;
        let sql_flavour = SqlFlavour::of(&mysqld)?;
        Ok(Self { redis_server, mysqld, sql_flavour, rabbitmq_server, epmd })
    }
}

impl SqlFlavour {
    /// Asks the program itself: MariaDB calls its server `mysqld` too.
    fn of(mysqld: &Path) -> Result<Self, MissingServer> {
        let output = Command::new(mysqld)
            .args(["--no-defaults", "--version"])
            .output()
            .map_err(|source| MissingServer::NoVersion { path: mysqld.to_path_buf(), source })?;
        if output.status.success() {
            let is_mariadb = String::from_utf8_lossy(&output.stdout).contains("MariaDB");
            return Ok(if is_mariadb { Self::MariaDb } else { Self::MySql });
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(MissingServer::NoVersion {
            path: mysqld.to_path_buf(),
            source: io::Error::other(format!("{}: {}", output.status, said.trim())),
        })
    }
}

impl Wanted {
    fn locate(&self, given: Option<PathBuf>) -> Result<PathBuf, MissingServer> {
        let from_environment = || env::var_os(self.variable).filter(|it| !it.is_empty()).map(PathBuf::from);
        match given.or_else(from_environment) {
            Some(path) if is_executable(&path) => {
                // Servers may be started from another working directory than this one.
                Ok(std::path::absolute(&path).unwrap_or(path))
            }
            Some(path) => Err(MissingServer::NotExecutable { path, package: self.package }),
            None => self.names.iter().find_map(|name| find_program(name)).ok_or(MissingServer::NotFound {
                binary: self.names[0],
                package: self.package,
                variable: self.variable,
            }),
        }
    }
}

/// The first executable file of this name in `PATH` or in [`MORE_FOLDERS`].
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .chain(MORE_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| is_executable(program))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The script behind Debian's wrapper when `program` is that wrapper, else `program` itself.
fn behind_debian_wrapper(program: PathBuf) -> PathBuf {
    let Ok(real) = program.canonicalize() else {
        return program;
    };
    if real.file_name().is_some_and(|name| name == DEBIAN_RABBITMQ_WRAPPER) {
        real.with_file_name("rabbitmq-server")
    } else {
        program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_is_refused_and_the_package_is_named() {
        let refusal = REDIS_SERVER.locate(Some("/nowhere/redis-server".into())).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("/nowhere/redis-server"), "{text}");
        assert!(text.contains("package redis-server"), "{text}");
        assert!(text.contains("docker compose up"), "{text}");
    }

    #[test]
    fn a_program_that_is_nowhere_is_refused_by_name() {
        let wanted = Wanted {
            names: &["no-such-server"],
            package: "no-such-package",
            variable: "FIRSTCOME_NO_SUCH_SERVER",
        };
        let text = wanted.locate(None).unwrap_err().to_string();
        assert!(text.contains("no-such-server was not found"), "{text}");
        assert!(text.contains("package no-such-package"), "{text}");
        assert!(text.contains("docker compose up"), "{text}");
    }
}
