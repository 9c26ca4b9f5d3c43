//! CA certificates and what a device gets that one introduces.

use time::OffsetDateTime;

use crate::accounts::OrgId;
use crate::products::ProductId;

crate::declare_id! {
    /// A registered CA certificate.
    CaId
}

/// How long a token for the proof of possession is good.
pub const VERIFICATION_LIFETIME: time::Duration = time::Duration::hours(1);
/// The alternative name of a verification certificate begins with this.
pub const VERIFICATION_URI: &str = "urn:nerveshub:verify:";

/// Just-in-time provisioning: an unknown device with a certificate of this CA is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jitp {
    /// In this product.
    pub product_id: ProductId,
    /// The product's name.
    pub product_name: String,
    /// With these tags.
    pub tags: Vec<String>,
    /// With this description.
    pub description: String,
}

/// A registered CA certificate.
#[derive(Debug, Clone)]
pub struct Ca {
    /// Its id.
    pub id: CaId,
    /// The org that it belongs to.
    pub org_id: OrgId,
    /// Serial number in decimal.
    pub serial: String,
    /// The bytes.
    pub der: Vec<u8>,
    /// Valid from.
    pub not_before: OffsetDateTime,
    /// Valid until.
    pub not_after: OffsetDateTime,
    /// Free text.
    pub description: Option<String>,
    /// Whether an expired CA introduces no more devices.
    pub check_expiration: bool,
    /// Whether it issues devices' next certificates over their links; none where the server does not hold its key.
    pub renews: Option<bool>,
    /// What an unknown device becomes.
    pub jitp: Option<Jitp>,
    /// When a device last came by it.
    pub last_used_at: Option<OffsetDateTime>,
}
