//! The door: credentials, cookies and the link for whoever comes first.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::cluster;
use lotline_adapters::identity::{Hasher, HasherOptions, IdentityOptions, KeyEncryption, PostgresIdentity};
use lotline_adapters::sign_on::OidcProvider;
use lotline_api::auth::cookie::Cookies;
use lotline_api::server::Readiness;
use lotline_api::{Desk, Door, Guard, Mode, Strangers, Trail, appointed};
use lotline_commands::access::AccessView;
use lotline_commands::bus::CommandBus;
use lotline_domain::id::CommandId;
use lotline_domain::identity::port::{Identity, LinkPurpose};
use lotline_domain::identity::session::SessionPolicy;
use lotline_domain::identity::sign_on::SignOn;
use lotline_domain::identity::token::TokenPolicy;
use lotline_domain::port::{Clock, Ids};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, OidcSection};
use crate::lifecycle::Lifecycle;
use crate::output;
use crate::stores::Databases;

/// Who issues tokens when no address is configured.
const ISSUER: &str = "lotline";
/// Why a node lets nobody in yet, or any more.
const UNKNOWN_ACCESS: &str = "who may do what is not known: the tenant's stream has not been read yet, is not heard any more, or can't be trusted; nobody is let in";
/// How long open requests may hold up the last records of the door.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// What the door is made of, and keeps it so.
pub(crate) struct Doorway {
    entrance: Option<Entrance>,
    /// Ends the writers: later than everything else, so that the last records of the door are taken.
    writers_end: CancellationToken,
    /// Cancelled when no request is open any more.
    served: CancellationToken,
}

/// What there is beyond development mode.
struct Entrance {
    identity: Identity,
    cookie_secret: Vec<u8>,
    provider: Option<Arc<dyn SignOn>>,
    trail: Trail,
}

impl Doorway {
    /// Opens the credentials and has their upkeep done, unless everybody is believed.
    ///
    /// # Errors
    /// When the database fails, or the key that encrypts signing keys can't be used.
    pub(crate) async fn open(
        config: &Config,
        databases: &Databases,
        bus: &CommandBus,
        lifecycle: &mut Lifecycle,
    ) -> anyhow::Result<Self> {
        let served = CancellationToken::new();
        if config.access.mode == Mode::Development {
            tracing::warn!("development mode: everybody who reaches this port is believed and may do everything");
            return Ok(Self { entrance: None, writers_end: lifecycle.token(), served });
        }
        if config.postgres.serve_url.is_none() {
            tracing::warn!(
                "PostgreSQL is asked by the login that owns the tables, in the tenant's role: a smuggled statement could leave it; see postgres.serve_url"
            );
        }
        let identity = credentials(config, databases).await?;
        let ports = identity.ports();
        let token = lifecycle.token();
        lifecycle.spawn("the upkeep of credentials", async move {
            identity.run(token).await;
            anyhow::Ok(())
        });
        let cookie_secret = cluster::secret(&databases.app, &config.tenant.id).await?;
        let provider = provider(&config.access.oidc)?;
        let trail = Trail::new(bus.clone(), Arc::new(SystemClock), Arc::new(RandomIds::default()));
        let writers_end = CancellationToken::new();
        let (task, token) = (trail.clone(), lifecycle.token());
        let (quiet, last) = (served.clone(), writers_end.clone().drop_guard());
        lifecycle.spawn("the trail of the door", async move {
            task.run(token).await;
            if timeout(LAST_REQUESTS, quiet.cancelled()).await.is_err() {
                tracing::warn!("requests are open still; what they are refused now is not recorded");
            }
            task.finish().await;
            drop(last);
            anyhow::Ok(())
        });
        Ok(Self { entrance: Some(Entrance { identity: ports, cookie_secret, provider, trail }), writers_end, served })
    }

    /// Who may do what has to be known before anybody can be let in. Where everybody is believed, nothing has to be known.
    pub(crate) fn readiness(&self, access: AccessView) -> Option<(&'static str, Arc<dyn Readiness>)> {
        self.entrance.as_ref()?;
        let known = move || access.now().map(|_| ()).ok_or_else(|| UNKNOWN_ACCESS.to_owned());
        Some(("access", Arc::new(known)))
    }

    /// What the writers of this process end with.
    pub(crate) fn writers_end(&self) -> CancellationToken {
        self.writers_end.clone()
    }

    /// To be dropped when no request is open any more.
    pub(crate) fn serving(&self) -> DropGuard {
        self.served.clone().drop_guard()
    }

    /// The door of the API that listens on `bound`.
    pub(crate) fn build(&self, config: &Config, bound: SocketAddr, access: &AccessView) -> Door {
        let Some(Entrance { identity, cookie_secret, provider, trail }) = &self.entrance else { return Door::Open };
        let origin = config.access.origin().map(str::to_owned);
        let secure = match &origin {
            Some(origin) => origin.starts_with("https://"),
            None if config.api.tls.is_on() => true,
            // Beyond loopback browsers come through something that speaks TLS, or their cookies are not sent at all.
            None => !bound.ip().to_canonical().is_loopback(),
        };
        let cookies = Cookies::new(cookie_secret, secure);
        let oidc = &config.access.oidc;
        let desk = provider.as_ref().map(|provider| Desk {
            provider: Arc::clone(provider),
            roles: oidc.role_map(),
            invite_unknown: oidc.invite_unknown,
            origin: origin.clone().unwrap_or_else(|| format!("http://{bound}")),
        });
        let (identity, access, trail) = (identity.clone(), access.clone(), trail.clone());
        let origins = config.api.origins.clone();
        let strangers = Strangers::new(config.api.limits.failed_look_ups_per_address);
        Door::Guarded(Arc::new(Guard { identity, access, cookies, trail, origin, desk, origins, strangers }))
    }

    /// Prints a link when nobody can administer the tenant yet. `url` is where the server is.
    pub(crate) fn welcome(&self, config: &Config, url: &str, access: AccessView, lifecycle: &mut Lifecycle) {
        let Some(identity) = self.entrance.as_ref().map(|entrance| entrance.identity.clone()) else { return };
        let (tenant, stop) = (config.tenant.id.clone(), lifecycle.token());
        let url = config.access.origin().unwrap_or(url).to_owned();
        lifecycle.spawn("the link for the first administrator", async move {
            let known = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                known = access.known() => known,
            };
            if !known.has_admin() {
                let command = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
                let user = appointed(&tenant, command);
                let link = identity.links.issue(LinkPurpose::Setup, user).await;
                let link = link.context("the link for the first administrator can't be made")?;
                say(&format!(
                    "nobody administers this tenant yet; whoever opens this link within 24 hours does:\n\n    {url}/setup#{}.{}\n",
                    link.token.expose(),
                    command.0
                ))?;
            }
            stop.cancelled().await;
            anyhow::Ok(())
        });
    }
}

/// The provider of single sign-on, if one is configured. It is asked for the first time when somebody comes.
fn provider(section: &OidcSection) -> anyhow::Result<Option<Arc<dyn SignOn>>> {
    if !section.is_on() {
        return Ok(None);
    }
    let provider = OidcProvider::new(section.options()?, Arc::new(SystemClock));
    Ok(Some(Arc::new(provider.context("access.oidc.issuer can't be used")?)))
}

/// The tenant's credentials.
///
/// # Errors
/// As [`Doorway::open`].
pub(crate) async fn credentials(config: &Config, databases: &Databases) -> anyhow::Result<PostgresIdentity> {
    let section = &config.access;
    let issuer = section.origin().unwrap_or(ISSUER);
    let tokens = TokenPolicy {
        lifetime: section.access_lifetime(),
        ..TokenPolicy::new(issuer, section.audience.as_str(), config.tenant.id.clone())
    };
    let sessions = SessionPolicy {
        refresh_lifetime: section.refresh_lifetime(),
        session_lifetime: section.session_lifetime(),
        ..SessionPolicy::default()
    };
    let hasher = Hasher::new(&HasherOptions::default()).context("the hasher of passwords can't be made")?;
    let key_encryption = encryption(&section.encryption_file)?;
    let options = IdentityOptions { sessions, key_encryption, ..IdentityOptions::new(tokens, Arc::new(hasher)) };
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(RandomIds::default()));
    let opened = PostgresIdentity::open(databases.app.clone(), clock, ids, options).await;
    opened.context("the credentials can't be opened")
}

/// The key in a file; none when no file is named.
fn encryption(file: &Path) -> anyhow::Result<Option<KeyEncryption>> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("access.encryption_file {shown} can't be read"))?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok().or_else(|| {
        let mut key = [0; 32];
        hex::decode_to_slice(bytes.trim_ascii(), &mut key).ok().map(|()| key)
    });
    let key = key.with_context(|| {
        format!("access.encryption_file {shown} must hold 32 bytes or 64 hex digits; `openssl rand -hex 32` makes them")
    })?;
    Ok(Some(KeyEncryption::new(key)))
}

/// On the terminal only: a secret is not for the log.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    Ok(output::print(&format!("\n  {text}\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encryption_file_holds_a_key_or_says_what_is_wrong() {
        let folder = std::env::temp_dir().join(format!("lotline-door-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("key");
        assert!(encryption(Path::new("")).unwrap().is_none());
        assert!(encryption(&file).unwrap_err().to_string().contains("can't be read"));
        for (text, fine) in [("ab".repeat(32) + "\n", true), ("x".repeat(32), true), ("ab".repeat(31), false)] {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(encryption(&file).is_ok(), fine, "{text}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
