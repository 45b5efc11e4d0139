//! How the server meets the network: its certificate, the pages of other sites that it answers, and the limits that its mode calls for.

use anyhow::Context;
use lotline_api::{Edge, Limits, Mode, Tls};

use crate::config::Config;
use crate::lifecycle::Lifecycle;

/// Reads the certificate and has it followed.
///
/// # Errors
/// When it can't be used.
pub(crate) fn open(config: &Config, lifecycle: &mut Lifecycle) -> anyhow::Result<Edge> {
    let section = &config.api.tls;
    let tls = section
        .is_on()
        .then(|| Tls::open(&section.certificate, &section.key))
        .transpose()
        .context("the certificate of api.tls can't be used")?;
    if let Some(tls) = tls.clone() {
        let token = lifecycle.token();
        lifecycle.spawn("the reload of the certificate", async move {
            tls.watch(token).await;
            anyhow::Ok(())
        });
    } else if !config.api.bind.ip().to_canonical().is_loopback() {
        tracing::warn!(
            address = %config.api.bind,
            "plain HTTP beyond loopback: tokens can be read on the way unless something in front speaks TLS; see api.tls"
        );
    }
    let https = tls.is_some() || config.access.origin().is_some_and(|origin| origin.starts_with("https://"));
    Ok(Edge { tls, origins: config.api.origins.clone(), https })
}

/// What a client may ask for. Where everybody is believed, a name says nothing, so nothing is counted by name.
pub(crate) fn limits(config: &Config) -> Limits {
    let limits = config.api.limits.clone();
    match config.access.mode {
        Mode::Enforced => limits,
        Mode::Development => limits.unmetered(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_where_it_is_known_who_asks() {
        let mut config = Config::default();
        assert_eq!(limits(&config), Limits::default());
        assert_eq!(limits(&config).requests_per_hour, 5_000);
        config.access.mode = Mode::Development;
        let limits = limits(&config);
        assert_eq!((limits.requests_per_hour, limits.requests_per_hour_by_actor), (0, 0));
        assert_eq!((limits.connections_per_actor, limits.connections), (0, 1_000));
    }
}
