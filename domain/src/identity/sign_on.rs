//! Single sign-on: what the API needs from a provider of OpenID Connect, who somebody there is here, and what their groups are worth.
//!
//! A person is known by the provider's name and the subject that it gave them, which never goes to somebody else (OpenID Connect Core section 5.7);
//! an address may. By an address a person is recognised once, when the provider has verified it and it is the one under which somebody was invited.

use std::collections::BTreeMap;

use thiserror::Error;

use super::port::StoreError;
use crate::access::role::{Role, RoleSet};
use crate::id::{SiteId, UserId};
use crate::identity::id_token::IdTokenRefusal;
use crate::port::BoxFuture;
use crate::timestamp::Timestamp;

/// What a browser takes to the provider.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Comes back as it went.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// Its SHA-256 goes with the browser, itself only with the code (RFC 7636).
    pub verifier: &'a str,
    /// Where the browser is to come back to.
    pub redirect_uri: &'a str,
    /// Whether the person has to sign in there once more, though they are.
    pub again: bool,
}

/// What a browser brings back.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Good for one ID token.
    pub code: &'a str,
    /// Who says to have answered (RFC 9207).
    pub issuer: Option<&'a str>,
    /// As it went.
    pub nonce: &'a str,
    /// As it went.
    pub verifier: &'a str,
    /// As it went.
    pub redirect_uri: &'a str,
    /// Since when the person must have signed in there, where that was asked for.
    pub authenticated_since: Option<Timestamp>,
}

/// Who somebody is to a provider, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSubject {
    /// The provider; `iss`.
    pub issuer: String,
    /// The person; `sub`.
    pub subject: String,
}

/// What a provider says of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub subject: ExternalSubject,
    /// Their address, if the provider has verified it.
    pub email: Option<String>,
    /// For people to read.
    pub name: Option<String>,
    /// Their groups, or whatever the claim holds that stands for roles.
    pub groups: Vec<String>,
}

/// Why a provider gives nobody.
#[derive(Debug, Error)]
pub enum SignOnError {
    /// It does not answer, or not as a provider does. The operator has to look.
    #[error("the provider of single sign-on can't be used: {0}")]
    Provider(String),
    /// It does not accept the code.
    #[error("the provider does not accept the code: {0}")]
    Code(String),
    /// Its ID token does not count.
    #[error(transparent)]
    Token(#[from] IdTokenRefusal),
}

/// A provider of OpenID Connect.
pub trait SignOn: Send + Sync + 'static {
    /// Where to send a browser.
    fn address<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<String, SignOnError>>;
    /// Who comes back.
    fn redeem<'a>(&'a self, answer: &'a Answer<'a>) -> BoxFuture<'a, Result<Person, SignOnError>>;
}

/// Which user a provider's subject is.
pub trait Subjects: Send + Sync + 'static {
    /// The user, when the subject is known.
    fn find<'a>(&'a self, subject: &'a ExternalSubject) -> BoxFuture<'a, Result<Option<UserId>, StoreError>>;
    /// Makes a subject known as a user. `false` when the subject is another user, or the user another subject of that provider: an address
    /// that was given to somebody else does not take their place.
    fn link<'a>(&'a self, subject: &'a ExternalSubject, user: UserId) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Notes that a way back was used, until nobody can come by it any more. `false` when it was used before.
    fn use_up(&self, attempt: [u8; 32], until: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;
}

/// A group of the provider, and the role that it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// As the provider writes it.
    pub group: String,
    /// What its members are here.
    pub role: Role,
    /// Where; everywhere when absent.
    pub site: Option<SiteId>,
}

/// Which groups give which roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleMap(pub Vec<RoleRule>);

impl RoleMap {
    /// The roles of somebody with these groups in each place that the map names, be they none. Other places are not the provider's matter.
    pub fn roles(&self, groups: &[String]) -> BTreeMap<Option<SiteId>, RoleSet> {
        let mut places: BTreeMap<Option<SiteId>, RoleSet> = BTreeMap::new();
        for rule in &self.0 {
            let here = places.entry(rule.site.clone()).or_insert(RoleSet::EMPTY);
            if groups.contains(&rule.group) {
                *here = here.and(RoleSet::of(&[rule.role]));
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_give_roles_where_the_map_says_and_nowhere_else() {
        let north = SiteId::new("north").unwrap();
        let rule =
            |group: &str, role, site: Option<&SiteId>| RoleRule { group: group.into(), role, site: site.cloned() };
        let map = RoleMap(vec![
            rule("bosses", Role::Admin, None),
            rule("bosses", Role::Auditor, None),
            rule("line", Role::Operator, Some(&north)),
        ]);
        let roles = |groups: &[&str]| map.roles(&groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>());
        let expected = |everywhere: &[Role], at_north: &[Role]| {
            BTreeMap::from([(None, RoleSet::of(everywhere)), (Some(north.clone()), RoleSet::of(at_north))])
        };
        assert_eq!(roles(&["bosses", "x"]), expected(&[Role::Admin, Role::Auditor], &[]));
        assert_eq!(roles(&["line"]), expected(&[], &[Role::Operator]));
        assert_eq!(roles(&["LINE", ""]), expected(&[], &[]));
        assert!(RoleMap::default().roles(&["bosses".to_owned()]).is_empty());
    }
}
