//! The forms of an actor's id.

use uuid::Uuid;

use crate::id::{ActorId, ApiKeyId, UserId};

/// The actor of what is done by whoever has the machine and its database: the command line, never the API.
pub const SYSTEM: &str = "system";
/// The actor of what Lotline records by itself, which nobody else may act as.
pub const LOTLINE: &str = "lotline";

const USER: &str = "user:";
const KEY: &str = "key:";

/// Who acts, as rules about access see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person who has signed in: `user:<uuid>`.
    User(UserId),
    /// A program with an API key: `key:<uuid>`.
    Key(ApiKeyId),
    /// Who has the machine: `system`.
    System,
    /// Lotline itself: `lotline`. It gives no command but records.
    Lotline,
    /// Anything else, such as the names of development mode. It has no permission.
    Other,
}

impl Actor {
    /// Reads an actor's id. Only the one text that is written for an id counts: lowercase, with hyphens.
    pub fn of(id: &ActorId) -> Self {
        let uuid = |text: &str| Uuid::parse_str(text).ok().filter(|id| id.as_hyphenated().to_string() == text);
        let text = id.as_str();
        if text == SYSTEM {
            return Self::System;
        }
        if text == LOTLINE {
            return Self::Lotline;
        }
        let user = || text.strip_prefix(USER).and_then(uuid).map(|id| Self::User(UserId(id)));
        let key = || text.strip_prefix(KEY).and_then(uuid).map(|id| Self::Key(ApiKeyId(id)));
        user().or_else(key).unwrap_or(Self::Other)
    }
}

impl ActorId {
    /// Who has the machine and its database.
    pub fn system() -> Self {
        Self::new(SYSTEM).expect("invariant: the name follows the rule")
    }

    /// Lotline itself.
    pub fn lotline() -> Self {
        Self::new(LOTLINE).expect("invariant: the name follows the rule")
    }

    /// Whether nobody outside may act under this name, however they signed in.
    pub fn is_reserved(&self) -> bool {
        [SYSTEM, LOTLINE].contains(&self.as_str())
    }
}

impl UserId {
    /// The person as an actor. Also names the key of the person's data.
    pub fn actor(self) -> ActorId {
        ActorId::new(format!("{USER}{self}")).expect("invariant: a UUID is visible ASCII")
    }
}

impl ApiKeyId {
    /// The key as an actor.
    pub fn actor(self) -> ActorId {
        ActorId::new(format!("{KEY}{self}")).expect("invariant: a UUID is visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let id = Uuid::from_u128(0xab);
        assert_eq!(Actor::of(&UserId(id).actor()), Actor::User(UserId(id)));
        assert_eq!(Actor::of(&ApiKeyId(id).actor()), Actor::Key(ApiKeyId(id)));
        assert_eq!(Actor::of(&ActorId::system()), Actor::System);
        let upper = UserId(id).actor().as_str().replace("ab", "AB");
        let bare = id.simple();
        assert_eq!(Actor::of(&ActorId::lotline()), Actor::Lotline);
        for text in ["ann", "user:", "key:1", "System", &upper, &format!("user:{bare}"), &id.to_string()] {
            assert_eq!(Actor::of(&ActorId::new(text).unwrap()), Actor::Other, "{text}");
        }
        assert!(ActorId::system().is_reserved() && ActorId::lotline().is_reserved());
        assert!(!UserId(id).actor().is_reserved());
    }
}
