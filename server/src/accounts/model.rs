//! Viewers, orgs, roles.

use time::{Duration, OffsetDateTime};

use crate::audit::Actor;

/// The cookie that holds a browser's session.
pub const SESSION_COOKIE: &str = "muster_session";
/// How long a browser stays signed in.
pub const SESSION_LIFETIME: Duration = Duration::days(60);
/// A token's last use is written at most this often.
pub(super) const LAST_USED_EVERY: Duration = Duration::minutes(1);

crate::declare_id! {
    /// An org.
    OrgId
}
crate::declare_id! {
    /// A person.
    UserId
}
crate::declare_id! {
    /// An API token or a session.
    TokenId
}

/// An email address, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

/// Not an email address.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("is not an email address")]
pub struct NotAnEmail;

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Email {
    type Err = NotAnEmail;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_lowercase();
        let shaped = text
            .rsplit_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
        if !shaped || text.len() > 254 || text.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(NotAnEmail);
        }
        Ok(Self(text))
    }
}

/// What a member may do; each includes the one before.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, serde::Deserialize,
)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything.
    View,
    /// Change devices, firmware, deployments, keys.
    Manage,
    /// Change members and products.
    Admin,
}

impl Role {
    /// The role's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

/// Who is asking: a person, by a session or a token.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub(super) user_id: UserId,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) via: Via,
}

/// By what a viewer proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An API token.
    Token,
    /// A browser's session, by its id.
    Session(TokenId),
}

impl Viewer {
    /// By what they proved it.
    pub fn via(&self) -> Via {
        self.via
    }

    /// The person's id.
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// The person's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The person's email address.
    pub fn email(&self) -> &str {
        &self.email
    }
}

/// The proof that the viewer is a member of this org.
#[derive(Debug, Clone)]
pub struct Org {
    pub(super) id: OrgId,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) actor: Actor,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
}

/// A role that is too low.
#[derive(Debug, Clone, thiserror::Error)]
#[error("This needs the role {} in the org {org}; yours is {}.", needed.name(), has.name())]
pub struct Forbidden {
    org: String,
    needed: Role,
    has: Role,
}

impl Org {
    /// The org's id.
    pub fn id(&self) -> OrgId {
        self.id
    }

    /// The org's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The viewer's role in it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Since when it exists.
    pub fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }

    /// When it was last changed.
    pub fn updated_at(&self) -> OffsetDateTime {
        self.updated_at
    }

    /// Who acts, for the audit log.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether the viewer may do what needs this role.
    ///
    /// # Errors
    /// [`Forbidden`], naming the role that is needed.
    pub fn require(&self, needed: Role) -> Result<(), Forbidden> {
        if self.role >= needed {
            return Ok(());
        }
        Err(Forbidden {
            org: self.name.clone(),
            needed,
            has: self.role,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_parsed_into_lower_case() {
        assert_eq!("  Ada@X.io ".parse::<Email>().unwrap().as_str(), "ada@x.io");
        for bad in [
            "",
            "ada",
            "@x.io",
            "ada@",
            "a da@x.io",
            &format!("{}@x.io", "a".repeat(250)),
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }

    #[test]
    fn roles_include_those_below() {
        assert!(Role::View < Role::Manage && Role::Manage < Role::Admin);
    }
}
