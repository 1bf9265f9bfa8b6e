//! A private RabbitMQ, and the `epmd` through which it registers its node name.
//!
//! Left alone RabbitMQ starts an `epmd` that becomes a daemon and outlives it. So one is started
//! first, in the foreground, on a port of its own; it also keeps the node names of several
//! instances on one machine apart.

use std::ops::{Deref, DerefMut};
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use tokio::net::TcpStream;

use crate::dev::{
    binaries::ServerBinaries, data_folder, ports, process::ServerProcess, readiness::rabbitmq_is_ready,
    server_error::ServerError,
};

const SERVER: &str = "rabbitmq";
const EPMD: &str = "epmd";
/// The name is part of the data: RabbitMQ keeps them in a folder of that name.
const NODE_NAME: &str = "firstcome@localhost";
/// RabbitMQ takes about 3 seconds to leave, more with many queues.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// What can differ between private RabbitMQ servers.
#[derive(Debug, Clone, Default)]
pub struct RabbitmqOptions {
    /// Further lines of `rabbitmq.conf`.
    pub extra_settings: Vec<String>,
}

/// A running RabbitMQ server with its data in `<data_dir>/rabbitmq`.
#[derive(Debug)]
pub struct PrivateRabbitmq {
    binaries: ServerBinaries,
    data_dir: PathBuf,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
    options: RabbitmqOptions,
    /// Before `epmd`, because fields are dropped in this order: a broker that finds its `epmd`
    /// gone starts a daemon in its place.
    process: ServerProcess,
    epmd: ServerProcess,
}

/// Process id and end are those of the broker itself: the start script and `erl` become it by `exec`.
impl Deref for PrivateRabbitmq {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.process
    }
}

impl DerefMut for PrivateRabbitmq {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }
}

impl PrivateRabbitmq {
    /// Starts RabbitMQ and waits until it answers the AMQP protocol header. Its two further ports
    /// are remembered in `data_dir`.
    ///
    /// # Errors
    /// When it does not get there within two minutes.
    pub async fn start(
        binaries: &ServerBinaries,
        data_dir: &Path,
        port: u16,
        options: RabbitmqOptions,
    ) -> Result<Self, ServerError> {
        let data_dir = data_folder::absolute(SERVER, data_dir)?;
        let port_error =
            |source| data_folder::io_error(SERVER, "cannot remember a port in", &data_dir)(source);
        let distribution_port =
            ports::remembered(&data_dir, "rabbitmq-distribution").await.map_err(port_error)?;
        let epmd_port = ports::remembered(&data_dir, "rabbitmq-epmd").await.map_err(port_error)?;
        let launch = Launch { binaries, data_dir: &data_dir, port, distribution_port, epmd_port };
        let epmd = launch.epmd().await?;
        let process = launch.rabbitmq(&options).await?;
        let binaries = binaries.clone();
        Ok(Self { binaries, data_dir, port, distribution_port, epmd_port, options, process, epmd })
    }

    /// With the user `guest`, whom RabbitMQ lets in from the loopback only, and the virtual host
    /// `/`.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Kills RabbitMQ with SIGKILL, and its `epmd`, and waits until they are gone.
    pub async fn kill(&mut self) -> ExitStatus {
        let status = self.process.kill().await;
        self.epmd.kill().await;
        status
    }

    /// Stops RabbitMQ with SIGTERM; kills it when it has not left after 30 seconds. Its `epmd`
    /// has nothing to save and is killed.
    pub async fn stop(&mut self) -> ExitStatus {
        let status = self.process.stop(STOP_GRACE).await;
        self.epmd.kill().await;
        status
    }

    /// Starts RabbitMQ again on the same port with the same data; kills it first if it is alive.
    ///
    /// # Errors
    /// As of [`PrivateRabbitmq::start`].
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.kill().await;
        let launch = Launch {
            binaries: &self.binaries,
            data_dir: &self.data_dir,
            port: self.port,
            distribution_port: self.distribution_port,
            epmd_port: self.epmd_port,
        };
        self.epmd = launch.epmd().await?;
        self.process = launch.rabbitmq(&self.options).await?;
        Ok(())
    }
}

/// What both processes are started with.
struct Launch<'a> {
    binaries: &'a ServerBinaries,
    data_dir: &'a Path,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
}

impl Launch<'_> {
    async fn epmd(&self) -> Result<ServerProcess, ServerError> {
        let port = self.epmd_port;
        let mut command = Command::new(&self.binaries.epmd);
        command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
        let mut process = ServerProcess::spawn(EPMD, &mut command, self.data_dir).await?;
        let connects = async || TcpStream::connect(("127.0.0.1", port)).await.map(drop);
        process.wait_until_ready(connects).await?;
        Ok(process)
    }

    async fn rabbitmq(&self, options: &RabbitmqOptions) -> Result<ServerProcess, ServerError> {
        let home = self.data_dir.join("rabbitmq");
        let settings_more = home.join("conf.d");
        data_folder::create_for(SERVER, &home)?;
        data_folder::create_for(SERVER, &settings_more)?;
        let settings = home.join("rabbitmq.conf");
        let settings_text = format!(
            "listeners.tcp.loopback = 127.0.0.1:{}\n{}\n",
            self.port,
            options.extra_settings.join("\n")
        );
        data_folder::write(SERVER, &settings, &settings_text)?;
        let settings_advanced = home.join("advanced.config");
        data_folder::write(SERVER, &settings_advanced, "[].\n")?;
        let plugins = home.join("enabled_plugins");
        data_folder::write(SERVER, &plugins, "[].\n")?;

        let mut command = Command::new(&self.binaries.rabbitmq_server);
        command
            // Whatever is set for the system's RabbitMQ is not meant for this one.
            .env_clear()
            .envs(["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("LANG", "C.UTF-8")
            // Erlang's cookie lies there.
            .env("HOME", &home)
            // Has the start script become the broker instead of waiting for it: the pid is then
            // the broker's, and SIGTERM reaches it.
            .env("detached", "true")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", NODE_NAME)
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", &home)
            // To the standard output, so to the one log file that every server here has.
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_CONFIG_FILE", &settings)
            .env("RABBITMQ_CONFIG_FILES", &settings_more)
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", &settings_advanced)
            .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
            // No turns of idling on a small machine; nothing but the loopback for other nodes.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("ERL_CRASH_DUMP", home.join("erl_crash.dump"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Neither the broker nor what it starts may start an `epmd`: there is one.
            .env("ERL_FLAGS", "-start_epmd false");
        let mut process = ServerProcess::spawn(SERVER, &mut command, self.data_dir).await?;
        let port = self.port;
        process.wait_until_ready(async || rabbitmq_is_ready(port).await).await?;
        Ok(process)
    }
}
