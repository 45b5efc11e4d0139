//! A real `lotline` process under test: started, asked over HTTP, killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Which log the server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// The embedded log.
    Postgres,
    /// Apache Kafka.
    Kafka,
}

/// How to start a server. The same settings again find the same data.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose data; part of the topic names, so it must be unique on a shared Kafka.
    pub tenant: String,
    /// Which log.
    pub log: Log,
    /// `postgres://…` of the server's own database.
    pub database: String,
    /// `host:port` of Kafka.
    pub brokers: Option<String>,
    /// Folder for the collector's buffer and the server's own output.
    pub folder: PathBuf,
    /// Everybody is believed: most tests say who acts by a header.
    pub development: bool,
    /// More environment, such as `LOTLINE_COLLECTOR__…`.
    pub environment: Vec<(String, String)>,
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`, or `https` where the settings name a certificate.
    pub url: String,
    /// How long it took from its start until it was ready.
    pub ready_after: Duration,
    output: PathBuf,
}

const READY_DEADLINE: Duration = Duration::from_secs(90);

impl Server {
    /// Starts `lotline` with the given arguments and waits until it is ready.
    ///
    /// # Panics
    /// When it is not ready in time; its output is then part of the message.
    pub async fn start(settings: &Settings, arguments: &[&str]) -> Self {
        Self::launch(settings, lotline(settings), arguments).await
    }

    /// The same by another program, such as `unshare`, which is to become `lotline`: it gets the binary and its arguments after its own.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub async fn start_by(settings: &Settings, program: &[&str], arguments: &[&str]) -> Self {
        let inner = lotline(settings);
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(inner.get_program()).current_dir(&settings.folder);
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::launch(settings, command, arguments).await
    }

    /// Starts it and does not wait.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn begin(settings: &Settings, arguments: &[&str]) -> Self {
        Self::spawn(settings, lotline(settings), arguments)
    }

    async fn launch(settings: &Settings, command: Command, arguments: &[&str]) -> Self {
        let started = Instant::now();
        let mut server = Self::spawn(settings, command, arguments);
        server.wait_until_ready().await;
        server.ready_after = started.elapsed();
        server
    }

    fn spawn(settings: &Settings, mut command: Command, arguments: &[&str]) -> Self {
        let port = free_port();
        let output = settings.folder.join(format!("lotline-{port}.log"));
        let file = File::create(&output).expect("the folder of the test can be written");
        let child = command
            .args(arguments)
            .args(settings.development.then_some("--development"))
            .env("LOTLINE_API__BIND", format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be cloned"))
            .stderr(file)
            .spawn()
            .expect("the lotline binary starts");
        let tls = settings.environment.iter().any(|(name, _)| name == "LOTLINE_API__TLS__CERTIFICATE");
        let url = format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" });
        Self { child, url, ready_after: Duration::ZERO, output }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        // A server that has already ended can't be killed again, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to stop (SIGTERM) and gives whether it ended well within the deadline.
    pub async fn stop(&mut self, deadline: Duration) -> bool {
        self.ended(deadline).await.is_some_and(|status| status.success())
    }

    /// Asks it to stop (SIGTERM) and gives how it ended, or nothing when it did not within the deadline.
    pub async fn ended(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let sent = Command::new("kill").arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM can be sent");
        let until = Instant::now() + deadline;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Returns once it is ready.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub async fn wait_until_ready(&mut self) {
        // A test that is about its certificate looks at that itself.
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build();
        let client = client.expect("an HTTP client can be made");
        let until = Instant::now() + READY_DEADLINE;
        while Instant::now() < until {
            let asked = client.get(format!("{}/health/ready", self.url)).timeout(Duration::from_secs(2)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("lotline ended with {status} before it was ready:\n{}", self.printed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("lotline was not ready in time:\n{}", self.printed());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The binary of this build with a plant's settings in its environment, ready for arguments.
pub fn lotline(settings: &Settings) -> Command {
    let log = match settings.log {
        Log::Postgres => "postgres",
        Log::Kafka => "kafka",
    };
    let mut command = Command::new(binary());
    command
        .current_dir(&settings.folder)
        // Whoever tries the product beside the tests has the usual port.
        .env("LOTLINE_API__BIND", "127.0.0.1:0")
        .env("LOTLINE_TENANT__ID", &settings.tenant)
        .env("LOTLINE_LOG__KIND", log)
        .env("LOTLINE_POSTGRES__URL", &settings.database)
        .env("LOTLINE_KAFKA__BROKERS", settings.brokers.as_deref().unwrap_or("127.0.0.1:1"))
        .env("LOTLINE_COLLECTOR__BUFFER__DIR", settings.folder.join("buffer"))
        .envs(settings.environment.iter().cloned());
    command
}

/// A port that nobody listens on at the moment.
///
/// # Panics
/// When the machine has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// The `lotline` of this build: it lies above the test binaries.
pub fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("a process knows its own path");
    let found = this.ancestors().skip(1).map(|folder| folder.join("lotline")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no lotline above {}: build it first, by `make test`", display(&this)))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
