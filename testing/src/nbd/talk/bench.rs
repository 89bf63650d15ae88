//! The server's pure code with a disk, and a client that checks its output.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;

use melv_block::BlockDevice;
use melv_nbd::channel::Channel;
use melv_nbd::handler::{Handler, PIECE_LEN};
use melv_nbd::negotiation::{Negotiation, OPTION_LEN_MAX, ReplyMode, Session, Step};
use melv_nbd::request::{Action, Request};
use melv_nbd::send_buffer::SendBuffer;
use melv_nbd::wire::Take;
use melv_nbd::{Socket, TlsPolicy};
use melv_serve::{Budget, Exports, LatencyProbe};

use super::model::{self, Agreed, End, Wrong, must};
use super::replies::{self, DAMAGED};
use crate::nbd::{Held, KIB, MIB, Part, Shelf, TestDisk};
use crate::random::Rng;

/// The maximum output of one step or one reply, in bytes: data without fragments is up to 1 MiB.
const OUT_LEN_MAX: usize = (MIB + 128 * KIB) as usize;

/// The results of conversations.
#[derive(Debug, Default)]
pub struct Talked {
    pub begun: u64,
    pub requests: u64,
    pub options_len: u64,
    pub errors: BTreeMap<u32, u64>,
}

/// Creates a disk with all kinds of parts; most of it is zeros, so that replies are short.
fn disk() -> TestDisk {
    let head = TestDisk::new()
        .and(Part::Data, 24 * KIB)
        .and(Part::Zero, 8 * KIB)
        .at_depth(Part::Data, 4 * KIB, 1)
        .at_depth(Part::Zero, 1 << 12, 2)
        .at_depth(Part::Zero, MIB, 1)
        .and(Part::Data, 32 * KIB);
    let left = DAMAGED.start - head.size();
    head.and(Part::Zero, left)
        .and(Part::Damaged, DAMAGED.end - DAMAGED.start)
        .and(Part::Zero, 6 << 30)
        .and(Part::Data, 5000)
        .held(Held::Everything)
}

/// A disk and the server's pure code, for conversations.
pub struct Bench {
    shelf: Shelf,
    /// Offsets at or near the beginning or end of a part.
    pub places: Vec<u64>,
    /// An unused channel: replies stay in memory.
    channel: Channel,
    probe: LatencyProbe,
}

impl Bench {
    pub fn new() -> Self {
        let (one, _) = UnixStream::pair().unwrap();
        let disk = disk();
        let end = disk.size();
        let zeros_end = end - 5000;
        let mut places = vec![0, 24 * KIB, 32 * KIB, 36 * KIB, 40 * KIB, MIB + 40 * KIB, DAMAGED.start];
        // A status of nearly 4 GiB, which does not fit with the extent after it.
        places.extend([DAMAGED.end, zeros_end, end, zeros_end - 0xffff_f800, u64::MAX]);
        Self {
            shelf: Shelf::only("disk", disk),
            places,
            channel: Channel::new(Socket::Unix(one), Budget::default()),
            probe: LatencyProbe::default(),
        }
    }

    /// Runs one conversation: the client's bytes, in pieces of random length. Returns the first
    /// output of the server that the protocol forbids.
    pub fn talk(
        &self,
        said: &[u8],
        policy: TlsPolicy,
        rng: &mut Rng,
        talked: &mut Talked,
    ) -> Result<(), Wrong> {
        let (mut heard, end, used) = self.shake_hands(said, policy, rng)?;
        let export = self.shelf.open("disk").unwrap().unwrap();
        let (right, agreed, right_used) = model::handshake(said, policy, &heard, export.disk.as_ref())?;
        talked.options_len += heard.len() as u64;
        heard.clear();
        let found = match &end {
            None => End::More,
            Some(None) => End::Close,
            Some(Some(_)) => End::Ready,
        };
        must!(found == right, "the handshake ended with {found:?}, not {right:?}");
        let Some(Some(session)) = end else { return Ok(()) };
        must!(used == right_used, "the handshake took {used} bytes of {right_used}");
        must!(session.mode == agreed.mode, "{:?} instead of {:?}", session.mode, agreed.mode);
        talked.begun += 1;
        self.requests(&said[used..], &session, &agreed, talked)
    }

    /// Runs the server's part of a handshake, with input in pieces. Returns its output, its end,
    /// and the number of bytes consumed.
    #[expect(clippy::type_complexity, reason = "used once")]
    fn shake_hands(
        &self,
        said: &[u8],
        policy: TlsPolicy,
        rng: &mut Rng,
    ) -> Result<(Vec<u8>, Option<Option<Session>>, usize), Wrong> {
        let mut out = Vec::new();
        let mut negotiation = Negotiation::new(policy, &mut out);
        let (mut start, mut end) = (0, 0);
        loop {
            let before = out.len();
            let (taken, step) = negotiation.step(&said[start..end], &self.shelf, &mut out);
            must!(taken <= end - start, "took {taken} bytes of {}", end - start);
            must!(out.len() - before <= OUT_LEN_MAX, "{} bytes at once", out.len() - before);
            start += taken;
            match step {
                Step::Went => {}
                Step::StartTls => negotiation.tls_begun(),
                Step::Close => return Ok((out, Some(None), start)),
                Step::Ready(session) => return Ok((out, Some(Some(session)), start)),
                Step::More if end == said.len() => return Ok((out, None, start)),
                Step::More => {
                    must!(end - start <= OPTION_LEN_MAX as usize + 16, "{} bytes are kept", end - start);
                    let more = if rng.one_in(4) { 1 + rng.below(40) } else { 65536 };
                    end = (end + more as usize).min(said.len());
                }
            }
        }
    }

    fn requests(
        &self,
        said: &[u8],
        session: &Session,
        agreed: &Agreed,
        talked: &mut Talked,
    ) -> Result<(), Wrong> {
        let disk = session.export.disk.as_ref();
        let has_contexts = session.contexts.contexts().next().is_some();
        let (mut client, mut out) = (Take(said), SendBuffer::default());
        loop {
            let decoded = Request::decode(client.0, session.mode);
            let asked = match (replies::asked(&mut client, session.mode), &decoded) {
                (Ok(None), Ok(None)) | (Err(_), Err(_)) => return Ok(()),
                (Ok(Some(asked)), Ok(Some(_))) => asked,
                (asked, decoded) => return Err(format!("{asked:?}, decoded as {decoded:?}")),
            };
            let Ok(Some((request, _))) = decoded else { return Ok(()) };
            let action = request.action(session.mode, disk.size(), has_contexts);
            let payload_len = request.payload_len(session.mode);
            if action == Action::Disconnect || payload_len > client.0.len() as u64 {
                return Ok(());
            }
            client.bytes(payload_len as usize);
            let is_sent = session.mode == ReplyMode::Simple && request.len > PIECE_LEN;
            if is_sent && matches!(action, Action::Read { .. }) {
                // The server never holds such a reply in memory as a whole.
                continue;
            }
            self.answer(&request, action, session, &mut out);
            must!(out.len() <= OUT_LEN_MAX, "{} bytes at once", out.len());
            let errno = replies::check(&asked, agreed, disk, out.filled())
                .map_err(|wrong| format!("{wrong}: {:?} {asked:?}", session.mode))?;
            out.truncate(0);
            talked.requests += 1;
            *talked.errors.entry(errno).or_default() += 1;
        }
    }

    fn answer(&self, request: &Request, action: Action, session: &Session, out: &mut SendBuffer) {
        let handler = Handler { channel: &self.channel, session, probe: &self.probe };
        match action {
            Action::Read { in_one } => {
                if request.len > PIECE_LEN || !handler.try_read_cached(request, in_one, out) {
                    handler.read(request, in_one, out).unwrap();
                }
            }
            Action::Status { only_first } => handler.status(request, only_first, out),
            // Its reads have no visible result, and tens of mebibytes take too long.
            Action::Cache => handler.nothing(request, out),
            Action::Nothing => handler.nothing(request, out),
            Action::Refuse(errno) => handler.refuse(request, errno, out),
            Action::Disconnect => {}
        }
    }
}
