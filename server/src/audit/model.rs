//! What an audit entry says.

use time::OffsetDateTime;
use uuid::Uuid;

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, by id and the name they had.
    User(Uuid, String),
    /// The server itself, by the command or rule that acted.
    System(&'static str),
}

impl Actor {
    /// What they are called.
    pub fn name(&self) -> &str {
        match self {
            Self::User(_, name) => name,
            Self::System(name) => name,
        }
    }
}

/// What was acted upon.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its kind in the field's own term, such as `device`.
    pub kind: &'static str,
    /// Its id, where it has one.
    pub id: Option<Uuid>,
    /// The name it had.
    pub name: &'a str,
}

/// An act, ready to be recorded.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// The tenant.
    pub org_id: Uuid,
    /// Who.
    pub actor: &'a Actor,
    /// What, such as `device.created`.
    pub action: &'static str,
    /// To what.
    pub subject: Subject<'a>,
    /// What else is worth knowing; never a secret.
    pub detail: serde_json::Value,
}

/// An entry as it is shown.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: OffsetDateTime,
    /// Who, by name.
    pub actor_name: String,
    /// What.
    pub action: String,
    /// To what, by name.
    pub subject_name: String,
}
