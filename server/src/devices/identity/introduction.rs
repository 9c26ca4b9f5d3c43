//! Whether a CA's word is enough for a certificate that is not pinned: the rules alone, on what is known of it
//! (device-link §1.4, step 4).

use time::OffsetDateTime;

use super::Refusal;
use crate::accounts::OrgId;
use crate::ca::x509::Certificate;
use crate::ca::{Ca, Jitp};
use crate::devices::model::{DeviceId, Identifier};
use crate::products::ProductId;

/// The device that has a key, or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::devices) struct Holder {
    pub device: DeviceId,
    pub org: OrgId,
    pub product: ProductId,
    pub identifier: String,
    /// It, or its product, is deleted.
    pub is_deleted: bool,
    /// Of the holder of a key: the key's certificates are all revoked.
    pub is_revoked: bool,
    /// It has a certificate that is not revoked.
    pub has_certificate: bool,
}

/// To whom an introduced certificate is pinned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Introduced<'a> {
    /// This device.
    Device(Holder),
    /// One that is made by the CA's profile.
    New(&'a Jitp),
}

/// The device that a certificate names.
pub(super) fn identifier(certificate: &Certificate) -> Result<Identifier, Refusal> {
    let name = certificate.common_name.as_deref().ok_or(Refusal::NoIdentifier)?;
    name.parse().map_err(|_| Refusal::NoIdentifier)
}

/// Signature, basic constraints and dates. A new certificate must be in date; its CA only where the CA says so.
pub(super) fn check_path(certificate: &Certificate, ca: &Ca, now: OffsetDateTime) -> Result<(), Refusal> {
    if !certificate.was_issued_by(&ca.der) {
        return Err(Refusal::BadSignature);
    }
    let ca_in_date = ca.not_before <= now && now <= ca.not_after;
    if !certificate.is_valid_at(now) || (ca.check_expiration && !ca_in_date) {
        return Err(Refusal::NotInDate);
    }
    Ok(())
}

/// Whose a certificate is whose path is good: by its key, if the key is known, else by its name.
pub(super) fn decide<'a>(
    identifier: &Identifier,
    ca: &'a Ca,
    of_key: Option<Holder>,
    of_name: Option<Holder>,
) -> Result<Introduced<'a>, Refusal> {
    if let Some(holder) = of_key {
        return rotated(holder, identifier, ca).map(Introduced::Device);
    }
    match of_name {
        Some(holder) if holder.is_deleted => Err(Refusal::Deleted),
        Some(holder) if holder.has_certificate => Err(Refusal::OtherKey),
        Some(holder) => Ok(Introduced::Device(holder)),
        None => ca.jitp.as_ref().map(Introduced::New).ok_or(Refusal::NotRegistered),
    }
}

/// The same key with a new certificate.
fn rotated(holder: Holder, identifier: &Identifier, ca: &Ca) -> Result<Holder, Refusal> {
    if holder.is_deleted {
        return Err(Refusal::Deleted);
    }
    if holder.identifier != identifier.as_str() || holder.org != ca.org_id {
        return Err(Refusal::ForeignKey);
    }
    if holder.is_revoked {
        return Err(Refusal::Revoked);
    }
    Ok(holder)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::ca::CaId;
    use crate::ca::authority::Authority;

    const NOW: OffsetDateTime = datetime!(2026-08-20 10:11:12 UTC);
    const ORG: OrgId = OrgId(Uuid::from_u128(1));

    fn ca(authority: &Authority) -> Ca {
        let certificate = Certificate::from_der(authority.certificate_der()).unwrap();
        Ca {
            id: CaId(Uuid::from_u128(9)),
            org_id: ORG,
            serial: certificate.serial,
            der: certificate.der,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            description: None,
            check_expiration: false,
            renews: None,
            jitp: None,
            last_used_at: None,
        }
    }

    fn authority() -> Authority {
        Authority::create("factory", [1; 16], NOW).unwrap().0
    }

    fn leaf(authority: &Authority, name: &str, from: OffsetDateTime, lifetime: Duration) -> Certificate {
        let issued = authority.issue_device(name, [2; 16], from, lifetime).unwrap();
        Certificate::from_pem(&issued.certificate_pem).unwrap()
    }

    fn holder() -> Holder {
        Holder {
            device: DeviceId(Uuid::from_u128(2)),
            org: ORG,
            product: ProductId(Uuid::from_u128(3)),
            identifier: "kiosk-1".to_owned(),
            is_deleted: false,
            is_revoked: false,
            has_certificate: false,
        }
    }

    fn name() -> Identifier {
        "kiosk-1".parse().unwrap()
    }

    #[test]
    fn a_new_certificate_must_be_in_date_whatever_its_ca() {
        let authority = authority();
        let ca = ca(&authority);
        let check = |from, lifetime| check_path(&leaf(&authority, "kiosk-1", from, lifetime), &ca, NOW);
        assert_eq!(check(NOW, Duration::days(1)), Ok(()));
        let expired = check(NOW - Duration::days(9), Duration::days(1));
        assert_eq!(expired, Err(Refusal::NotInDate));
        let early = check(NOW + Duration::days(9), Duration::days(1));
        assert_eq!(early, Err(Refusal::NotInDate));
    }

    #[test]
    fn an_expired_ca_introduces_devices_unless_its_expiry_is_checked() {
        let authority = authority();
        let mut ca = ca(&authority);
        let late = ca.not_after + Duration::days(2);
        let leaf = leaf(&authority, "kiosk-1", late, Duration::days(1));
        assert_eq!(check_path(&leaf, &ca, late), Ok(()));
        ca.check_expiration = true;
        assert_eq!(check_path(&leaf, &ca, late), Err(Refusal::NotInDate));
        assert_eq!(check_path(&leaf, &ca, ca.not_after), Err(Refusal::NotInDate));
    }

    #[test]
    fn a_ca_with_the_right_name_but_another_key_did_not_sign() {
        let (first, second) = (authority(), authority());
        let leaf = leaf(&first, "kiosk-1", NOW, Duration::days(1));
        assert_eq!(check_path(&leaf, &ca(&second), NOW), Err(Refusal::BadSignature));
    }

    #[test]
    fn the_identifier_is_a_common_name_that_can_be_one() {
        let authority = authority();
        let identifier = |name: &str| identifier(&leaf(&authority, name, NOW, Duration::days(1)));
        assert_eq!(identifier("kiosk-1").unwrap(), name());
        for bad in ["", "a/b", "a b"] {
            assert_eq!(identifier(bad), Err(Refusal::NoIdentifier), "{bad:?}");
        }
    }

    #[test]
    fn a_known_key_with_a_new_certificate_stays_its_device() {
        let ca = ca(&authority());
        let of_key = |change: fn(&mut Holder)| {
            let mut holder = holder();
            holder.has_certificate = true;
            change(&mut holder);
            decide(&name(), &ca, Some(holder), None).map(|_| ())
        };
        assert_eq!(of_key(|_| ()), Ok(()));
        assert_eq!(of_key(|holder| holder.is_deleted = true), Err(Refusal::Deleted));
        assert_eq!(of_key(|holder| holder.is_revoked = true), Err(Refusal::Revoked));
        assert_eq!(
            of_key(|holder| holder.identifier = "other".to_owned()),
            Err(Refusal::ForeignKey)
        );
        assert_eq!(
            of_key(|holder| holder.org = OrgId(Uuid::nil())),
            Err(Refusal::ForeignKey)
        );
    }

    #[test]
    fn an_unknown_key_is_taken_once_by_the_name_it_comes_with() {
        let mut ca = ca(&authority());
        let of_name = |change: fn(&mut Holder)| {
            let mut holder = holder();
            change(&mut holder);
            decide(&name(), &ca, None, Some(holder)).map(|_| ())
        };
        assert_eq!(of_name(|_| ()), Ok(()));
        assert_eq!(of_name(|holder| holder.is_deleted = true), Err(Refusal::Deleted));
        assert_eq!(of_name(|holder| holder.has_certificate = true), Err(Refusal::OtherKey));
        assert_eq!(decide(&name(), &ca, None, None), Err(Refusal::NotRegistered));
        let jitp = Jitp {
            product_id: ProductId(Uuid::from_u128(3)),
            product_name: "kiosk".to_owned(),
            tags: Vec::new(),
            description: String::new(),
        };
        ca.jitp = Some(jitp.clone());
        assert_eq!(decide(&name(), &ca, None, None), Ok(Introduced::New(&jitp)));
    }
}
