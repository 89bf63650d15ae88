//! The bundle of certificates, as the script of `ca-certificates` makes it.

use std::io;

use crate::{
    contents::Contents,
    tree::{Content, Kind, Tree},
};

use super::lookup::resolve;

/// Path of the bundle: the one that curl, GnuTLS and most programs of Debian open.
pub const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Path that OpenSSL opens by default; a link to [`BUNDLE`] spares the thousand links of `c_rehash`.
pub const OPENSSL_LINK: &str = "/usr/lib/ssl/cert.pem";
/// Folder of the authorities.
const FOLDER: &[u8] = b"/usr/share/ca-certificates/mozilla";
/// Largest certificate in bytes, and their number at most. Mozilla's have below 4 KiB, and are 150.
const MAX_CERTIFICATE: u64 = 64 << 10;
const MAX_COUNT: usize = 4096;

/// Makes the bundle out of the files of the package: in byte order of their names, each with a line end.
///
/// Returns `None` where the package is not there. Files without a certificate are left out.
///
/// # Errors
///
/// A content that cannot be read.
pub fn bundle(tree: &Tree, contents: &dyn Contents) -> io::Result<Option<Vec<u8>>> {
    let Ok(folder) = resolve(tree, FOLDER) else { return Ok(None) };
    let Kind::Directory(entries) = &tree.get(folder.id).kind else { return Ok(None) };
    let mut output = Vec::new();
    for (_, id) in entries.iter().filter(|(name, _)| name.ends_with(b".crt")).take(MAX_COUNT) {
        let bytes = match &tree.get(*id).kind {
            Kind::File(Content::Bytes(bytes)) => bytes.clone(),
            Kind::File(Content::Spooled { offset, len }) if *len <= MAX_CERTIFICATE => {
                let mut bytes = vec![0; *len as usize];
                contents.read_at(*offset, &mut bytes)?;
                bytes
            }
            _ => continue,
        };
        let begin = b"-----BEGIN CERTIFICATE-----";
        if !bytes.windows(begin.len()).any(|part| part == begin) {
            continue;
        }
        output.extend_from_slice(&bytes);
        if !bytes.ends_with(b"\n") {
            output.push(b'\n');
        }
    }
    Ok(if output.is_empty() { None } else { Some(output) })
}
