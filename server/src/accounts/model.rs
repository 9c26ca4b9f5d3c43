//! Viewers, orgs, roles.

use crate::audit::Actor;

crate::declare_id! {
    /// An org.
    OrgId
}
crate::declare_id! {
    /// A person.
    UserId
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
}

impl Viewer {
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
