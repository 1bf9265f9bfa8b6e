//! Whose signature makes a server's certificate a good one.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Certificates of authorities out of a PEM file, for servers that no public authority knows. Empty: none but the
/// public ones, which are in the binary.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    file: PathBuf,
    pem: String,
}

impl Authorities {
    /// Reads a file, once; an empty path stands for none.
    ///
    /// # Errors
    /// Says the path, and why it cannot be meant.
    pub fn read(file: &Path) -> Result<Self, String> {
        if file.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let refuse = |why: String| format!("{} ({why})", file.display());
        let pem = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
        check(&pem).map_err(refuse)?;
        Ok(Self { file: file.to_owned(), pem })
    }

    /// The certificates as PEM, where there are any.
    pub fn pem(&self) -> Option<&str> {
        (!self.pem.is_empty()).then_some(&self.pem)
    }

    /// The same one by one; [`Self::read`] has checked them.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        let blocks = pem::parse_many(&self.pem).unwrap_or_default();
        blocks.into_iter().map(|it| CertificateDer::from(it.into_contents()))
    }
}

/// The libraries pass over what they cannot read; so everything is looked at here.
fn check(text: &str) -> Result<(), String> {
    let blocks = pem::parse_many(text).map_err(|_| "not PEM")?;
    if blocks.is_empty() {
        return Err("no certificate".to_owned());
    }
    if blocks.len() != text.matches("-----BEGIN ").count() {
        return Err("a PEM block that is damaged".to_owned());
    }
    for block in blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(format!("{:?}; only certificates belong here", block.tag()));
        }
        let added = RootCertStore::empty().add(CertificateDer::from(block.into_contents()));
        added.map_err(|_| "a certificate that cannot be read")?;
    }
    Ok(())
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.file, f)
    }
}

impl<'de> Deserialize<'de> for Authorities {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::read(&PathBuf::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Serialize for Authorities {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.file.serialize(to)
    }
}
