//! `access.*`: what it costs to look at an access token with each request, compared with one bare Ed25519 verification; to decide who may do
//! what; and how long a changed role takes to count everywhere.

mod change;
mod rights;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::identity::{Hasher, HasherOptions, IdentityOptions, PostgresIdentity};
use lotline_domain::id::{TenantId, UserId};
use lotline_domain::identity::port::AccessTokens;
use lotline_domain::identity::token::TokenPolicy;
use lotline_domain::port::{Clock, Ids};
use tokio_util::sync::CancellationToken;

use super::report::Report;
use crate::contract::subject::Postgres;

/// People whom a tenant knows.
const PEOPLE_OF_A_TENANT: usize = 10_000;

/// People who are signed in at the same time.
const PEOPLE: usize = 1_000;

/// Rounds in which each of them sends one request.
const ROUNDS: usize = 200;

/// Runs the figures of access that the report wants.
///
/// # Errors
/// When the stack fails.
pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    if report.wants("access.decision") || report.wants("access.reach") {
        rights::run(report)?;
    }
    if report.wants("access.role_change") {
        change::run(report).await?;
    }
    if report.wants("access.token") {
        tokens(report).await?;
    }
    Ok(())
}

async fn tokens(report: &mut Report) -> anyhow::Result<()> {
    let postgres = Postgres::new().await;
    let policy = TokenPolicy::new("https://lotline.example", "lotline", TenantId::new("dairy")?);
    let hasher = Hasher::new(&HasherOptions { memory_kib: 8, passes: 1, ..HasherOptions::default() })?;
    let options = IdentityOptions::new(policy, Arc::new(hasher));
    let ids = Arc::new(RandomIds::default());
    let identity = PostgresIdentity::open(postgres.pool.clone(), Arc::new(SystemClock), ids.clone(), options).await?;
    let identity = Arc::new(identity);
    let cancel = CancellationToken::new();
    let (running, stop) = (Arc::clone(&identity), cancel.clone());
    let looking = tokio::spawn(async move { running.run(stop).await });
    let ports = identity.ports();
    let mut tokens = Vec::with_capacity(PEOPLE);
    for _ in 0..PEOPLE {
        let user = UserId(ids.uuid_v7(SystemClock.now()));
        tokens.push(ports.sessions.open(user, "bench").await?.access);
    }
    identity.look().await?;
    // Away from the threads of the runtime, which goes on looking for ended sessions meanwhile.
    let figures = tokio::task::spawn_blocking(move || measure(ports.tokens.as_ref(), &tokens)).await??;
    cancel.cancel();
    looking.await?;
    let micros = |length: Duration| length.as_secs_f64() * 1e6;
    let (check, first, bare) = (micros(figures.check), micros(figures.first), micros(figures.bare));
    report.note(&format!(
        "access: {PEOPLE} people, {ROUNDS} requests each; a token for the first time {first:.2} us; a bare Ed25519 verification {bare:.2} us"
    ));
    report.result("access.token_check_us", check, "us", Some(check / bare));
    report.result("access.token_first_check_us", first, "us", Some(first / bare));
    Ok(())
}

/// Means of one look at a token, or one verification.
struct Figures {
    check: Duration,
    first: Duration,
    bare: Duration,
}

fn measure(access: &dyn AccessTokens, tokens: &[String]) -> anyhow::Result<Figures> {
    let first = timed(tokens.len(), || tokens.iter().try_for_each(|token| access.verify(token).map(drop)))?;
    let all = || (0..ROUNDS).try_for_each(|_| tokens.iter().try_for_each(|token| access.verify(token).map(drop)));
    let check = timed(ROUNDS * tokens.len(), all)?;
    let pair = Ed25519KeyPair::generate().ok().context("no key can be made")?;
    let message = tokens[0].as_bytes();
    let signature = pair.sign(message);
    let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref()).parse()?;
    let verify = || black_box(&public).verify_sig(black_box(message), signature.as_ref());
    let bare = timed(20_000, || (0..20_000).try_for_each(|_| verify()))?;
    Ok(Figures { check, first, bare })
}

fn timed<E: std::error::Error + Send + Sync + 'static>(
    count: usize,
    work: impl FnOnce() -> Result<(), E>,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed() / u32::try_from(count)?)
}
