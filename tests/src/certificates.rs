//! An authority of the test's own, a broker's certificate and a gateway's, as PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// What a broker needs.
#[derive(Clone, Debug)]
pub struct BrokerFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The broker's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What a gateway needs.
#[derive(Clone, Debug)]
pub struct GatewayFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The gateway's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Writes an authority, a broker's certificate for the loopback address, and a gateway's certificate into `folder`.
///
/// # Errors
/// The files cannot be written.
pub fn write(folder: &Path) -> Result<(BrokerFiles, GatewayFiles)> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Gridpost test authority");
    let authority_key = KeyPair::generate()?;
    let ca = folder.join("ca.pem");
    fs::write(&ca, authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);

    let issue = |name: &str, addresses: Vec<String>| -> Result<(PathBuf, PathBuf)> {
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let (certificate_file, key_file) =
            (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&certificate_file, params.signed_by(&key, &issuer)?.pem())?;
        fs::write(&key_file, key.serialize_pem())?;
        Ok((certificate_file, key_file))
    };
    let (certificate, key) = issue("broker", vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let broker = BrokerFiles { ca: ca.clone(), certificate, key };
    let (certificate, key) = issue("gateway", vec!["gateway.test".to_owned()])?;
    Ok((broker, GatewayFiles { ca, certificate, key }))
}
