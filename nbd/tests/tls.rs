//! Tests of TLS, one rule each; `melv_nbd`'s table of rules names them.

#![allow(clippy::big_endian_bytes, reason = "so is the protocol")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::tls::{Clients, config};
use melv_nbd::wire::{command, export, option, reply};
use melv_nbd::{Server, ServerOptions, TlsPolicy};
use melv_testing::nbd::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Tls = StreamOwned<ClientConnection, UnixStream>;

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::with(KeyPair::generate().unwrap())
    }

    fn with(key: KeyPair) -> Self {
        Self(CertifiedIssuer::self_signed(authority_params("the authority"), key).unwrap())
    }

    /// Creates an authority whose own certificate this one has signed.
    fn authorises(&self, key: KeyPair) -> Self {
        Self(CertifiedIssuer::signed_by(authority_params("one below it"), key, &self.0).unwrap())
    }

    /// Returns a new certificate and its key, as PEM.
    fn signs(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.signs_key(name, &key), key.serialize_pem())
    }

    /// Returns a certificate for a key, as PEM.
    fn signs_key(&self, name: &str, key: &KeyPair) -> String {
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(key, &self.0).unwrap().pem()
    }

    /// Creates a folder with the files of a server.
    fn folder(&self) -> tempfile::TempDir {
        let (certificate, key) = self.signs("localhost");
        self.folder_with(&certificate, &key)
    }

    /// Does the same with this server certificate (or chain) and key.
    fn folder_with(&self, certificate: &str, key: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca-cert.pem", &self.0.pem());
        write("server-cert.pem", certificate);
        write("server-key.pem", key);
        folder
    }

    /// Creates a client that trusts this authority and presents a certificate from `own`, or none.
    fn client(&self, own: Option<&Self>) -> Arc<ClientConfig> {
        self.client_with(own.map(|own| own.signs("client")))
    }

    /// Does the same with this certificate (or chain) and key, as PEM.
    fn client_with(&self, own: Option<(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let Some((certificates, key)) = own else { return Arc::new(builder.with_no_client_auth()) };
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Lengths of RSA keys that QEMU and nbdkit accept, in bits: the common ones, and odd ones that
/// certtool generates.
const RSA_BITS: [u32; 9] = [2048, 2432, 2560, 3072, 3248, 4096, 5120, 7680, 8192];

/// Returns a key of `tests/keys` in PKCS#1; the 2432-bit one has certtool's text before it.
fn rsa_pem(bits: u32) -> String {
    key_file(&format!("rsa-{bits}.pem"))
}

fn key_file(name: &str) -> String {
    let path = format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn rsa(bits: u32) -> KeyPair {
    KeyPair::from_pem(&rsa_pem(bits)).unwrap()
}

fn tls_server(folder: &Path, policy: TlsPolicy, clients: Clients) -> Server {
    let tls = Some(config(folder, clients).unwrap());
    server_with(Shelf::usual(), ServerOptions { policy, tls, ..ServerOptions::default() })
}

/// Creates a server that admits known clients, and the configuration of such a client.
fn known(policy: TlsPolicy) -> (Server, Arc<ClientConfig>) {
    let authority = Authority::new();
    let server = tls_server(authority.folder().path(), policy, Clients::Known);
    (server, authority.client(Some(&authority)))
}

/// Continues over TLS.
fn over_tls(client: Client, config: &Arc<ClientConfig>) -> Client<Tls> {
    let state = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    Client::over(StreamOwned::new(state, client.stream))
}

/// Connects a client that has begun TLS.
fn secured(server: &Server, config: &Arc<ClientConfig>) -> Client<Tls> {
    let mut client = greeted(server);
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
    over_tls(client, config)
}

/// Whether a client with this configuration is admitted.
fn is_let_in(server: &Server, config: &Arc<ClientConfig>) -> bool {
    let mut client = secured(server, config);
    let sent = client.stream.write_all(&option_head(option::LIST, 0)).and_then(|()| client.stream.flush());
    // With TLS 1.3, the refusal comes after the client's last message.
    let mut head = [0; 20];
    sent.is_ok() && client.stream.read_exact(&mut head).is_ok()
}

#[test]
fn tls_carries_everything() {
    let (server, config) = known(TlsPolicy::Required);
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        let mut client = secured(&server, &config);
        client.agree(mode);
        client.go("plain");
        for (offset, len) in [(0, 512), (4095, 100_000), (MIB, 3 * MIB)] {
            assert!(client.read(offset, len).bytes() == data(offset..offset + len), "{mode:?}");
        }
        let mut request = client.request(command::WRITE, 0, 0, 100_000);
        request.resize(request.len() + 100_000, 1);
        client.send(&request);
        assert_eq!(client.answer().errno(), 1);
        client.ask(command::DISC, 0, 0, 0);
        client.is_closed();
    }
}

#[test]
fn tls_required_tells_nothing_in_plain() {
    let (server, config) = known(TlsPolicy::Required);
    let mut client = greeted(&server);
    for number in [
        option::LIST,
        option::INFO,
        option::GO,
        option::STRUCTURED_REPLY,
        option::EXTENDED_HEADERS,
        option::LIST_META_CONTEXT,
        option::SET_META_CONTEXT,
        77,
    ] {
        assert_eq!(client.answer_to(number, &go_data(b"plain", &[])), reply::ERR_TLS_REQD, "{number}");
    }
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
    over_tls(client, &config).go("plain");
    let mut client = greeted(&server);
    assert_eq!(client.answer_to(option::ABORT, &[]), reply::ACK);
}

#[test]
fn tls_required_closes_at_export_name() {
    let mut client = greeted(&known(TlsPolicy::Required).0);
    client.send_option(option::EXPORT_NAME, b"plain");
    client.is_closed();
}

#[test]
fn tls_allowed_serves_both() {
    let (server, config) = known(TlsPolicy::Allowed);
    assert_eq!(reading(&server, "plain", ReplyMode::Structured).read(0, 512).bytes(), data(0..512));
    assert!(is_let_in(&server, &config));
}

#[test]
fn tls_off_refuses_starttls_and_goes_on() {
    let mut client = greeted(&server(Shelf::usual()));
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ERR_POLICY);
    client.go("plain");
}

#[test]
fn starttls_drops_what_was_agreed_on_before() {
    let (server, config) = known(TlsPolicy::Allowed);
    for mode in [ReplyMode::Structured, ReplyMode::Extended] {
        let mut client = greeted(&server);
        client.agree(mode);
        client.choose("plain", &["base:allocation"]);
        assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
        let mut client = over_tls(client, &config);
        let (_, flags) = client.go("plain");
        assert_eq!(flags & export::SEND_DF, 0);
        // Replies are simple, and no contexts are selected.
        assert_eq!(client.read(0, 512).bytes(), data(0..512));
        assert_eq!(client.call(command::BLOCK_STATUS, 0, 0, 512).errno(), 22);
    }
    let mut client = greeted(&server);
    client.agree(ReplyMode::Structured);
    client.choose("plain", &["base:allocation"]);
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
    let mut client = over_tls(client, &config);
    client.agree(ReplyMode::Structured);
    client.go("plain");
    assert_eq!(client.call(command::BLOCK_STATUS, 0, 0, 512).errno(), 22);
}

#[test]
fn starttls_twice_is_invalid() {
    let (server, config) = known(TlsPolicy::Required);
    let mut client = secured(&server, &config);
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ERR_INVALID);
    client.go("plain");
}

#[test]
fn starttls_with_data_is_invalid() {
    let (server, config) = known(TlsPolicy::Required);
    let mut client = greeted(&server);
    assert_eq!(client.answer_to(option::STARTTLS, b"x"), reply::ERR_INVALID);
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
    over_tls(client, &config).go("plain");
}

#[test]
fn plain_bytes_behind_starttls_are_not_interpreted() {
    let (server, config) = known(TlsPolicy::Allowed);
    for injected in [option_head(option::LIST, 0), option_head(option::ABORT, 0), vec![0; 100]] {
        let mut client = greeted(&server);
        client.send(&[option_head(option::STARTTLS, 0), injected].concat());
        assert_eq!(client.option_reply(option::STARTTLS).kind, reply::ACK);
        // The bytes are not TLS: the server sends no option reply and closes.
        let mut rest = Vec::new();
        let _ = client.stream.read_to_end(&mut rest);
        assert!(!rest.windows(8).any(|bytes| bytes == 0x0003_e889_0455_65a9_u64.to_be_bytes()));
        client.ends();
    }
    assert!(is_let_in(&server, &config));
}

#[test]
fn slow_drip_of_a_tls_handshake_ends_in_time() {
    let authority = Authority::new();
    let (tls, policy) = (config(authority.folder().path(), Clients::Any).unwrap(), TlsPolicy::Required);
    let handshake_max = Duration::from_millis(200);
    let options = ServerOptions { policy, tls: Some(tls), handshake_max, ..ServerOptions::default() };
    let mut client = greeted(&server_with(Shelf::usual(), options));
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
    // A record of 16 KiB with the beginning of a client hello.
    let drip = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xf0].into_iter().chain(std::iter::repeat(0));
    let begun = Instant::now();
    for byte in drip {
        if client.stream.write_all(&[byte]).is_err() {
            break;
        }
        assert!(begun.elapsed() < SOON, "the handshake goes on");
        std::thread::sleep(Duration::from_millis(3));
    }
    client.ends();
}

#[test]
fn client_that_never_reads_over_tls_is_let_go() {
    let authority = Authority::new();
    let tls = config(authority.folder().path(), Clients::Any).unwrap();
    let stall_max = Duration::from_millis(300);
    let base = ServerOptions { policy: TlsPolicy::Required, tls: Some(tls), ..ServerOptions::default() };
    let server = server_with(Shelf::usual(), ServerOptions { stall_max, ..base });
    let config = authority.client(None);
    let mut good = secured(&server, &config);
    good.go("plain");
    let mut client = greeted(&server);
    assert_eq!(client.answer_to(option::STARTTLS, &[]), reply::ACK);
    let ended = client.ended();
    let mut bad = over_tls(client, &config);
    bad.go("plain");
    let all: Vec<u8> = (0..100).flat_map(|_| bad.request(command::READ, 0, 0, MIB)).collect();
    bad.send(&all);
    assert!(good.read(0, MIB).bytes() == data(0..MIB));
    ended.wait();
    assert!(good.read(0, MIB).bytes() == data(0..MIB));
}

#[test]
fn only_clients_with_the_right_certificate_are_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = tls_server(ours.folder().path(), TlsPolicy::Required, Clients::Known);
    assert!(is_let_in(&server, &ours.client(Some(&ours))), "the right one");
    assert!(!is_let_in(&server, &ours.client(Some(&theirs))), "one of another authority");
    assert!(!is_let_in(&server, &ours.client(None)), "none");
    assert!(is_let_in(&server, &ours.client(Some(&ours))), "the right one after the others");
}

#[test]
fn any_client_is_let_in_where_the_server_says_so() {
    let authority = Authority::new();
    let server = tls_server(authority.folder().path(), TlsPolicy::Required, Clients::Any);
    assert!(is_let_in(&server, &authority.client(None)));
}

#[test]
fn files_that_are_missing_or_wrong_are_named() {
    let authority = Authority::new();
    for name in ["ca-cert.pem", "server-cert.pem", "server-key.pem"] {
        let folder = authority.folder();
        for text in [Some("no PEM"), Some(""), None] {
            match text {
                Some(text) => std::fs::write(folder.path().join(name), text).unwrap(),
                None => std::fs::remove_file(folder.path().join(name)).unwrap(),
            }
            let error = config(folder.path(), Clients::Known).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("PEM"), "{error}");
        }
        // A server that admits every client needs no authority.
        assert_eq!(config(folder.path(), Clients::Any).is_ok(), name == "ca-cert.pem");
    }
}

#[test]
fn a_servers_rsa_key_may_have_any_size_that_others_take() {
    let authority = Authority::new();
    for bits in RSA_BITS {
        let key = rsa(bits);
        let certificate = authority.signs_key("localhost", &key);
        for (form, pem) in [("PKCS#1", rsa_pem(bits)), ("PKCS#8", key_file(&format!("rsa-{bits}.pkcs8.pem")))]
        {
            let folder = authority.folder_with(&certificate, &pem);
            let server = tls_server(folder.path(), TlsPolicy::Required, Clients::Known);
            assert!(is_let_in(&server, &authority.client(Some(&authority))), "{bits} bits, {form}");
        }
    }
}

#[test]
fn rsa_keys_of_any_size_are_known_in_clients_and_in_chains() {
    for bits in RSA_BITS {
        let (authority, key) = (Authority::with(rsa(bits)), rsa(bits));
        let below = authority.authorises(rsa(2560));
        let server = tls_server(authority.folder().path(), TlsPolicy::Required, Clients::Known);
        let own = (authority.signs_key("client", &key), rsa_pem(bits));
        assert!(is_let_in(&server, &authority.client_with(Some(own))), "{bits} bits");
        let chain = [below.signs_key("client", &key), below.0.pem()].concat();
        assert!(
            is_let_in(&server, &authority.client_with(Some((chain, rsa_pem(bits))))),
            "{bits} bits, a chain"
        );
        let other = Authority::with(rsa(bits));
        let forged = (other.signs_key("client", &rsa(3248)), rsa_pem(3248));
        let trusted = Authority::new();
        let server = tls_server(trusted.folder().path(), TlsPolicy::Required, Clients::Known);
        assert!(!is_let_in(&server, &trusted.client_with(Some(forged))), "{bits} bits, of another authority");
    }
    // The server may have a chain, too.
    let authority = Authority::new();
    let below = authority.authorises(rsa(3248));
    let chain = [below.signs_key("localhost", &rsa(2432)), below.0.pem()].concat();
    let folder = authority.folder_with(&chain, &rsa_pem(2432));
    let server = tls_server(folder.path(), TlsPolicy::Required, Clients::Known);
    assert!(is_let_in(&server, &authority.client(Some(&authority))));
}

#[test]
fn rsa_keys_that_are_too_short_or_too_long_are_named() {
    let authority = Authority::new();
    let (certificate, _) = authority.signs("localhost");
    for bits in [1024, 9216] {
        let folder = authority.folder_with(&certificate, &rsa_pem(bits));
        let error = config(folder.path(), Clients::Any).unwrap_err().to_string();
        assert!(error.contains("server-key.pem") && error.contains("2048 to 8192 bits"), "{error}");
    }
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let authority = Authority::new();
    let (certificate, _) = authority.signs("localhost");
    let folder = authority.folder_with(&certificate, &rsa_pem(2432));
    let error = config(folder.path(), Clients::Any).unwrap_err().to_string();
    assert!(error.contains("server-cert.pem") && error.contains("server-key.pem"), "{error}");
}
