//! The application: every handle that a handler may use, and the servers that answer.

use crate::accounts::SignIns;
use crate::platform::Platform;

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The platform's handles.
    pub platform: Platform,
    /// The gate of sign-ins.
    pub sign_ins: SignIns,
}
