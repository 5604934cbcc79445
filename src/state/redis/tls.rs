//! Encryption of a connection (TLS 1.2 and 1.3), by rustls.
//!
//! The certificates of authorities are those of the system. The variables SSL_CERT_FILE and
//! SSL_CERT_DIR name others, for example those of a private authority.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::trouble::Trouble;
use super::wire::{Fault, Socket};

/// An encrypted connection.
pub(super) type Encrypted = StreamOwned<ClientConnection, Socket>;

/// Encrypts a connection to `host`, whose certificate must be for that name or address. The
/// handshake comes with the first bytes.
///
/// # Errors
/// If there is no authority to trust, or the host is no name that a certificate can have.
pub(super) fn encrypted(host: &str, socket: Socket) -> Result<Encrypted, Fault> {
    let failed = |why: String| Fault::Trouble(Trouble::Tls(why));
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
    let found = rustls_native_certs::load_native_certs();
    let mut authorities = RootCertStore::empty();
    // One bad certificate does not make the others bad.
    let (added, _bad) = authorities.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(failed(
            "no certificates of authorities on this machine (SSL_CERT_FILE can name a file with them)"
                .to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| failed(error.to_string()))?;
    Ok(StreamOwned::new(connection, socket))
}

/// The reason for an error on an encrypted connection: of the handshake, or of the bytes in it.
pub(super) fn fault(stream: &Encrypted, error: &(dyn std::error::Error + 'static)) -> Fault {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let of_tls = causes.find_map(|cause| {
        cause.downcast_ref::<rustls::Error>().map(ToString::to_string).or_else(|| {
            let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
            inner.downcast_ref::<rustls::Error>().map(ToString::to_string)
        })
    });
    match of_tls {
        Some(why) => Trouble::Tls(why).into(),
        None if stream.conn.is_handshaking() => Trouble::Tls("no handshake".to_owned()).into(),
        None => Trouble::Garbage.into(),
    }
}
