//! Authorities and certificates for the servers of a test.

use std::path::{Path, PathBuf};

use firstcome::config::Authorities;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// An authority that exists in this test only.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub file: PathBuf,
}

/// A certificate and its key, in files as servers read them.
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = write(folder, &format!("{name}.pem"), "CERTIFICATE", issuer.der());
        Self { issuer, file }
    }

    /// As the setting has it.
    pub fn trusted(&self) -> Authorities {
        Authorities::read(&self.file).unwrap()
    }

    /// A certificate for a host, good for now.
    pub fn certify(&self, folder: &Path, host: &str) -> Certificate {
        self.sign(folder, host, 2990)
    }

    /// The same, whose time is over.
    pub fn certify_in_the_past(&self, folder: &Path, host: &str) -> Certificate {
        self.sign(folder, host, 2021)
    }

    fn sign(&self, folder: &Path, host: &str, last_year: i32) -> Certificate {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            chain: write(folder, "server.pem", "CERTIFICATE", certificate.der()),
            key: write(folder, "server.key", "PRIVATE KEY", key.serialized_der()),
        }
    }
}

fn write(folder: &Path, name: &str, tag: &str, der: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, pem::encode(&pem::Pem::new(tag, der))).unwrap();
    path
}
