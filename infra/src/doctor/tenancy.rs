//! How far PostgreSQL itself keeps the server to the rows of its tenant.

use anyhow::Context;
use lotline_adapters::tenancy::{self, Protection};

use super::Finding;
use crate::stores::Databases;

/// Asks a connection on which the server would ask.
///
/// # Errors
/// When PostgreSQL fails.
pub(super) async fn examine(databases: &Databases) -> anyhow::Result<Finding> {
    let protection = tenancy::protection(&databases.queries).await.context("what protects rows can't be told")?;
    Ok(judge(&protection))
}

fn judge(protection: &Protection) -> Finding {
    let Protection { role, login, bypasses, owns, makes_roles, others, open } = protection;
    if !open.is_empty() {
        return Finding::Failure(format!("nothing keeps tenants apart in {}", open.join(", ")));
    }
    let works =
        format!("PostgreSQL shows and takes rows of this tenant only in role '{role}', as which everything is asked");
    let could = if *bypasses {
        "is bound by no policy".to_owned()
    } else if *owns {
        "can become the owner of the tables".to_owned()
    } else if *makes_roles {
        "can make roles for itself".to_owned()
    } else if !others.is_empty() {
        format!("can become {}", others.join(", "))
    } else {
        return Finding::Good(format!("{works}; the user '{login}' can become nobody else"));
    };
    Finding::Warning(format!(
        "{works}; but the user '{login}' {could}, if a statement left the role: set postgres.serve_url to a user of its own (decision 14)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection() -> Protection {
        Protection {
            role: "lotline_app:dairy".into(),
            login: "serving".into(),
            bypasses: false,
            owns: false,
            makes_roles: false,
            others: Vec::new(),
            open: Vec::new(),
        }
    }

    #[test]
    fn each_way_around_is_named() {
        let Finding::Good(text) = judge(&protection()) else { panic!("nothing is wrong") };
        assert!(text.contains("'serving' can become nobody else"), "{text}");
        for (weak, named) in [
            (Protection { bypasses: true, owns: true, ..protection() }, "'serving' is bound by no policy"),
            (Protection { owns: true, ..protection() }, "can become the owner of the tables"),
            (Protection { makes_roles: true, ..protection() }, "can make roles for itself"),
            (Protection { others: vec!["lotline_app:bakery".into()], ..protection() }, "can become lotline_app:bakery"),
        ] {
            let Finding::Warning(text) = judge(&weak) else { panic!("{weak:?} has a way around") };
            assert!(text.contains(named) && text.contains("postgres.serve_url"), "{text}");
        }
        let open = Protection { open: vec!["read.lots".into()], ..protection() };
        assert_eq!(judge(&open), Finding::Failure("nothing keeps tenants apart in read.lots".into()));
    }
}
