//! Conversations that somebody made wrong: the protocol's pure code survives them all, in bounded time and
//! memory, and never says what the protocol forbids.
//!
//! `MELV_CASES` says how many are tried, `MELV_SEED` where they begin.

#![allow(clippy::big_endian_bytes, reason = "so is the protocol")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

mod talk {
    //! What is said, and what must be heard.

    pub mod model;
    pub mod replies;
    pub mod script;
}

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::{Held, KIB, MIB, Part, Rng, Shelf, TestDisk, resident_bytes};
use melv::BlockDevice;
use melv::serving::Medium;
use melv_nbd::answer::{Answers, PIECE_LEN};
use melv_nbd::channel::Channel;
use melv_nbd::negotiation::{Negotiation, OPTION_LEN_MAX, ReplyMode, Session, Step};
use melv_nbd::output::Output;
use melv_nbd::request::{Request, Todo};
use melv_nbd::wire::Take;
use melv_nbd::{Exports, Socket, TlsPolicy};
use talk::model::{self, Agreed, End, Wrong};
use talk::replies::{self, DAMAGED};
use talk::script;

const CASES: u64 = 20_000;
const CASE_TIME_MAX: Duration = Duration::from_secs(2);
const MEMORY_MAX: u64 = 256 * MIB;
/// What one step or one reply may come to: data without fragments has a mebibyte.
const OUT_LEN_MAX: usize = (MIB + 128 * KIB) as usize;
const WRONG_MAX: usize = 20;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A disk with a bit of everything, most of it zeros, so that replies are short.
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

/// What became of the conversations.
#[derive(Default)]
struct Tally {
    conversations: u64,
    begun: u64,
    requests: u64,
    options_len: u64,
    errors: BTreeMap<u32, u64>,
    wrong: Vec<String>,
    slowest: Duration,
}

struct Bench {
    shelf: Shelf,
    places: Vec<u64>,
    /// Nothing is ever sent: replies stay in memory.
    channel: Channel,
    medium: Medium,
}

impl Bench {
    fn new() -> Self {
        let (one, _) = UnixStream::pair().unwrap();
        let disk = disk();
        let end = disk.size();
        let zeros_end = end - 5000;
        let mut places = vec![0, 24 * KIB, 32 * KIB, 36 * KIB, 40 * KIB, MIB + 40 * KIB, DAMAGED.start];
        // A status of nearly 4 GiB, which does not fit with what follows it.
        places.extend([DAMAGED.end, zeros_end, end, zeros_end - 0xffff_f800, u64::MAX]);
        Self {
            shelf: Shelf::only("disk", disk),
            places,
            channel: Channel::new(Socket::Unix(one)),
            medium: Medium::default(),
        }
    }

    fn conversation(&self, seed: u64, tally: &mut Tally) -> Result<(), Wrong> {
        let mut rng = Rng::new(seed);
        let said = script::conversation(&mut rng, &self.places);
        let policy = if rng.one_in(12) {
            TlsPolicy::Required
        } else {
            rng.pick(&[TlsPolicy::Off, TlsPolicy::Allowed])
        };
        let (mut heard, end, used) = self.shake_hands(&said, policy, &mut rng)?;
        let export = self.shelf.open("disk").unwrap();
        let (right, agreed, right_used) = model::handshake(&said, policy, &heard, export.disk.as_ref())?;
        tally.options_len += heard.len() as u64;
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
        tally.begun += 1;
        self.requests(&said[used..], &session, &agreed, tally)
    }

    /// The server's part of a handshake, with bytes that come in pieces; what it said, how it ended, and
    /// how many bytes it took.
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
        tally: &mut Tally,
    ) -> Result<(), Wrong> {
        let disk = session.export.disk.as_ref();
        let has_contexts = session.contexts.contexts().next().is_some();
        let (mut client, mut out) = (Take(said), Output::default());
        loop {
            let decoded = Request::decode(client.0, session.mode);
            let asked = match (replies::asked(&mut client, session.mode), &decoded) {
                (Ok(None), Ok(None)) | (Err(()), Err(_)) => return Ok(()),
                (Ok(Some(asked)), Ok(Some(_))) => asked,
                (asked, decoded) => return Err(format!("{asked:?}, decoded as {decoded:?}")),
            };
            let Ok(Some((request, _))) = decoded else { return Ok(()) };
            let todo = request.todo(session.mode, disk.size(), has_contexts);
            let payload_len = request.payload_len(session.mode);
            if todo == Todo::Disconnect || payload_len > client.0.len() as u64 {
                return Ok(());
            }
            client.bytes(payload_len as usize);
            let is_sent = session.mode == ReplyMode::Simple && request.len > PIECE_LEN;
            if is_sent && matches!(todo, Todo::Read { .. }) {
                // Such a reply is not put together in memory.
                continue;
            }
            self.answer(&request, todo, session, &mut out);
            must!(out.len() <= OUT_LEN_MAX, "{} bytes at once", out.len());
            let errno = replies::check(&asked, agreed, disk, out.filled())
                .map_err(|wrong| format!("{wrong}: {:?} {asked:?}", session.mode))?;
            out.truncate(0);
            tally.requests += 1;
            *tally.errors.entry(errno).or_default() += 1;
        }
    }

    fn answer(&self, request: &Request, todo: Todo, session: &Session, out: &mut Output) {
        let answers = Answers { channel: &self.channel, session, medium: &self.medium };
        match todo {
            Todo::Read { in_one } => {
                if request.len > PIECE_LEN || !answers.read_held(request, in_one, out) {
                    answers.read(request, in_one, out).unwrap();
                }
            }
            Todo::Status { only_first } => answers.status(request, only_first, out),
            // What it reads is told to nobody; tens of mebibytes take their time.
            Todo::Cache => answers.nothing(request, out),
            Todo::Nothing => answers.nothing(request, out),
            Todo::Refuse(errno) => answers.refuse(request, errno, out),
            Todo::Disconnect => {}
        }
    }
}

#[test]
fn changed_conversations_get_no_reply_that_the_protocol_forbids() {
    let (cases, first) = (number("MELV_CASES", CASES), number("MELV_SEED", 1));
    let (bench, mut tally) = (Bench::new(), Tally::default());
    let begun = Instant::now();
    for seed in first..first + cases {
        let case = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| bench.conversation(seed, &mut tally)));
        let wrong = done.unwrap_or_else(|_| Err("a panic".into())).err();
        tally.conversations += 1;
        tally.slowest = tally.slowest.max(case.elapsed());
        tally.wrong.extend(wrong.map(|wrong| format!("seed {seed}: {wrong}")));
        if tally.wrong.len() >= WRONG_MAX {
            break;
        }
    }
    println!(
        "{} conversations in {:.1} s, {} with a disk, {} requests, {} bytes of handshakes, errors {:?}, \
         slowest {:?}, {} MiB of memory, {} wrong",
        tally.conversations,
        begun.elapsed().as_secs_f64(),
        tally.begun,
        tally.requests,
        tally.options_len,
        tally.errors,
        tally.slowest,
        resident_bytes() >> 20,
        tally.wrong.len(),
    );
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert!(tally.slowest < CASE_TIME_MAX, "a conversation took {:?}", tally.slowest);
    assert!(resident_bytes() < MEMORY_MAX, "{} bytes of memory", resident_bytes());
    // They were worth it: most of them got to their requests, which came to all there is.
    assert!(tally.begun > cases / 4 && tally.requests > cases / 4, "{} {}", tally.begun, tally.requests);
    assert!([0, 1, 5, 22].iter().all(|errno| tally.errors.contains_key(errno)), "{:?}", tally.errors);
}
