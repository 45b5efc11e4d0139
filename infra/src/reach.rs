//! The first connection to PostgreSQL, made by itself before any pool, so that what keeps it from being made is told in one line.
//!
//! A pool tries again until its own deadline and then says only that it has timed out.

use std::time::Duration;

use anyhow::anyhow;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, sleep, timeout};

/// Longest that one try may take.
const ONE_TRY: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// How a try ended.
enum Refused {
    /// PostgreSQL is not there, or not yet: it may be starting beside us.
    NotThere(String),
    /// It is there and says no.
    Final(String),
}

/// Connects once. A server that is not there yet is waited for as long as `patience`.
///
/// # Errors
/// One line that names host, port and cause, and says what to do.
pub async fn reach(options: &PgConnectOptions, patience: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + patience;
    loop {
        let refused = match timeout(ONE_TRY, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => {
                // The goodbye is a courtesy; a server that does not hear it notices the closed socket.
                drop(connection.close().await);
                return Ok(());
            }
            Ok(Err(error)) => explain(options, &error),
            Err(_) => Refused::NotThere(unreachable(options, &format!("no answer within {} s", ONE_TRY.as_secs()))),
        };
        match refused {
            Refused::NotThere(_) if Instant::now() < until => sleep(TRY_AGAIN).await,
            Refused::NotThere(line) | Refused::Final(line) => return Err(anyhow!(line)),
        }
    }
}

fn explain(options: &PgConnectOptions, error: &sqlx::Error) -> Refused {
    match error {
        sqlx::Error::Io(cause) => Refused::NotThere(unreachable(options, &cause.to_string())),
        sqlx::Error::Database(said) => said_no(options, &said.code().unwrap_or_default(), said.message()),
        other => Refused::Final(format!("PostgreSQL at {} can't be used: {other}", place(options))),
    }
}

/// What PostgreSQL says instead of a welcome, by SQLSTATE (PostgreSQL documentation, appendix A).
fn said_no(options: &PgConnectOptions, code: &str, message: &str) -> Refused {
    let server = format!("{}:{}", options.get_host(), options.get_port());
    let (user, database) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    match code {
        // cannot_connect_now: it is starting or stopping.
        "57P03" => Refused::NotThere(unreachable(options, message)),
        // invalid_password, invalid_authorization_specification.
        "28P01" | "28000" => Refused::Final(format!(
            "PostgreSQL at {server} refuses user '{user}': {message}; correct user and password in postgres.url"
        )),
        // invalid_catalog_name.
        "3D000" => Refused::Final(format!(
            "PostgreSQL at {server} has no database '{database}'; create it \
             (`createdb -h {} -p {} -U {user} {database}`) or correct postgres.url",
            options.get_host(),
            options.get_port(),
        )),
        _ => Refused::Final(format!("PostgreSQL at {} can't be used: {message}", place(options))),
    }
}

fn unreachable(options: &PgConnectOptions, cause: &str) -> String {
    format!("PostgreSQL at {} can't be reached: {cause}; start it there, or correct postgres.url", place(options))
}

/// Host, port and database, without the password.
pub fn place(options: &PgConnectOptions) -> String {
    let (port, database) = (options.get_port(), options.get_database().unwrap_or_default());
    match options.get_socket() {
        Some(folder) => format!("{}:{port}/{database}", folder.display()),
        None => format!("{}:{port}/{database}", options.get_host()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_or_a_socket() {
        for (url, expected) in [
            ("postgres://ann:s3cret@10.1.2.3:5433/plant", "10.1.2.3:5433/plant"),
            ("postgres://ann@%2Frun%2Fpostgresql:5433/plant", "/run/postgresql:5433/plant"),
        ] {
            assert_eq!(place(&url.parse().unwrap()), expected);
        }
    }

    fn line(code: &str, message: &str) -> (bool, String) {
        let options: PgConnectOptions = "postgres://ann:s3cret@10.1.2.3:5433/plant".parse().unwrap();
        match said_no(&options, code, message) {
            Refused::NotThere(line) => (true, line),
            Refused::Final(line) => (false, line),
        }
    }

    #[test]
    fn each_refusal_says_what_to_do_and_keeps_the_password() {
        for (code, passing, expected) in [
            ("57P03", true, "10.1.2.3:5433/plant can't be reached: said; start it"),
            ("28P01", false, "10.1.2.3:5433 refuses user 'ann': said; correct user and password"),
            ("28000", false, "refuses user 'ann'"),
            (
                "3D000",
                false,
                "10.1.2.3:5433 has no database 'plant'; create it (`createdb -h 10.1.2.3 -p 5433 -U ann plant`)",
            ),
            ("53300", false, "10.1.2.3:5433/plant can't be used: said"),
        ] {
            let (waits, line) = line(code, "said");
            assert_eq!(waits, passing, "{code}");
            assert!(line.contains(expected) && !line.contains("s3cret") && !line.contains('\n'), "{code}: {line}");
        }
    }
}
