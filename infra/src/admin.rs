//! `lotline admin`: what whoever has the machine and its database may do about people.
//!
//! Only a writer appends events, so the server has to run. The command goes there as those of other nodes do, signed with the installation's
//! secret, which the database has.

use std::sync::Arc;

use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::personal_keys::PostgresPersonalKeys;
use lotline_adapters::snapshot::PostgresSnapshots;
use lotline_api::appointed;
use lotline_commands::bus::{CommandBus, Ports, Receipt, SubmitError};
use lotline_commands::writer::WriterOptions;
use lotline_domain::access::command::{AccessCommand, Appointee, Profile, email_context, name_context};
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, StreamKey, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::{Identity, LinkPurpose};
use lotline_domain::port::{Clock, Ids, PersonalKeys};
use lotline_domain::trace::Traces;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cli::AdminCommand;
use crate::cluster::Node;
use crate::config::Config;
use crate::door;
use crate::stores::{self, Databases};

/// Gives commands to a running installation, and knows its credentials.
pub struct Steward {
    config: Config,
    databases: Databases,
    bus: CommandBus,
    /// Credentials of the tenant.
    pub identity: Identity,
    _writers: DropGuard,
}

/// Does what the command line says.
///
/// # Errors
/// What kept it from being done.
pub async fn run(config: &Config, command: AdminCommand) -> anyhow::Result<()> {
    let AdminCommand::Create { email, name, recover, reason } = command;
    let steward = Steward::open(config).await?;
    let appointed = steward.appoint(&email, &name, recover, reason).await?;
    let url = config.access.origin().map_or_else(|| format!("http://{}", config.api.bind), str::to_owned);
    door::say(&format!(
        "{email} administers the tenant; the password is set by this link:\n\n    {url}/setup#{appointed}\n"
    ))
}

impl Steward {
    /// Connects to the database of an installation that runs.
    ///
    /// # Errors
    /// When it can't be reached.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let databases = stores::existing_databases(config).await?;
        let logs = stores::existing_ledger(config, &databases).await?;
        let ports = Ports {
            log: logs.log,
            snapshots: Arc::new(PostgresSnapshots::new(databases.app.clone())),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds::default()),
            traces: Traces::default(),
        };
        let (tenant, sites) = (&config.tenant.id, &config.tenant.sites);
        let (bus, writers) = CommandBus::new(tenant, sites, &ports, WriterOptions::default());
        let bus = Node::open(config, &databases, config.api.bind).await?.connect(bus)?;
        let stop = CancellationToken::new();
        for writer in writers {
            tokio::spawn(writer.elsewhere(stop.clone()));
        }
        let identity = door::credentials(config, &databases).await?.ports();
        Ok(Self { config: config.clone(), databases, bus, identity, _writers: stop.drop_guard() })
    }

    /// Makes a person ADMIN, known or not, and gives the text of a link by which they set a password.
    ///
    /// # Errors
    /// A malformed address, a refusal of the ledger, or an installation that does not run.
    pub async fn appoint(
        &self,
        email: &str,
        name: &str,
        recovery: bool,
        reason: Option<String>,
    ) -> anyhow::Result<String> {
        let address = LoginName::new(email)?;
        let command = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
        let (user, appointee, purpose) = if let Some(user) = self.identity.names.find(&address).await? {
            (user, Appointee::User(user), LinkPurpose::PasswordReset)
        } else {
            let user = appointed(&self.config.tenant.id, command);
            self.identity.names.reserve(&address, user).await?;
            (user, Appointee::New(self.profile(user, address.as_str(), name).await?), LinkPurpose::Invitation)
        };
        let is_new = matches!(appointee, Appointee::New(_));
        let asked = AccessCommand::AppointAdmin { appointee, recovery };
        match self.submit(ActorId::system(), command, asked, reason).await {
            Ok(_) => {}
            Err(error) => {
                if is_new && matches!(error, SubmitError::Refused { .. }) {
                    self.identity.names.release(&address, user).await?;
                }
                return Err(explained(&error));
            }
        }
        if is_new {
            self.identity.names.confirm(&address, user).await?;
        }
        Ok(self.identity.links.issue(purpose, user).await?.token.expose().to_owned())
    }

    /// A person's name and e-mail under the person's key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile(&self, user: UserId, email: &str, name: &str) -> anyhow::Result<Profile> {
        let keys = PostgresPersonalKeys::new(self.databases.app.clone());
        let key = keys.key_of(&self.config.tenant.id, &user.actor()).await?;
        Ok(Profile { name: key.seal(&name_context(user), name), email: key.seal(&email_context(user), email) })
    }

    /// Has a command about access decided.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(
        &self,
        actor: ActorId,
        command_id: CommandId,
        command: AccessCommand,
        reason: Option<String>,
    ) -> Result<Receipt, SubmitError> {
        let correlation_id = CorrelationId(RandomIds::default().uuid_v7(SystemClock.now()));
        let request = CommandRequest {
            tenant: self.config.tenant.id.clone(),
            stream: StreamKey::Tenant,
            actor,
            command_id,
            correlation_id,
            traceparent: None,
            expected_version: None,
            occurred_at: None,
            reason,
            command: Command::Access(command),
        };
        self.bus.submit(request).await
    }
}

fn explained(error: &SubmitError) -> anyhow::Error {
    let advice = match error {
        SubmitError::Refused { code, .. } if code == "ADMIN_EXISTS" => {
            "; somebody administers this tenant and can invite others; if they all are gone: --recover --reason \"…\""
        }
        SubmitError::Unavailable => "; does `lotline serve` run? Only a running server appends to the ledger",
        SubmitError::Refused { .. } | SubmitError::Busy { .. } | SubmitError::UnknownStream(_) => "",
    };
    anyhow::anyhow!("nobody was appointed: {error}{advice}")
}
