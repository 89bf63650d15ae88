//! VMware disks of arbitrary bytes: read or refused, the same through every path.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use melv::SpanStream;
use melv::for_each_run;
use melv::fuzzing;
use melv::limits::SPAN_LEN;
use melv::vmdk::{ExtentKind, Stream, VmdkDisk, looks_like};
use melv::{BlockDevice, Error, ErrorKind, Gate, Result};

use melv_testing::Rng;

/// The size up to which disks are read whole; larger ones are read at both ends.
const READ_WHOLE: u64 = 1 << 20;
/// The bound on the sectors of a disk.
const SECTORS_MAX: u64 = 1 << 54;

/// Checks descriptors: embedded and separate ones parse alike, and their extents survive a round trip.
pub fn vmdk_text(data: &[u8]) {
    let embedded = fuzzing::vmdk_descriptor(data, true);
    if let Ok(apart) = fuzzing::vmdk_descriptor(data, false) {
        assert_eq!(embedded.as_ref(), Ok(&apart), "embedded and apart");
    }
    let Ok(descriptor) = embedded else { return };
    assert!((1..=4096).contains(&descriptor.extents.len()));
    assert!(descriptor.sectors < SECTORS_MAX);
    let sum: u64 = descriptor.extents.iter().map(|extent| extent.sectors).sum();
    assert_eq!(descriptor.sectors, sum);
    let mut text = String::from("createType=\"custom\"\n");
    for extent in &descriptor.extents {
        let access = match extent.access {
            melv::vmdk::Access::ReadWrite => "RW",
            melv::vmdk::Access::ReadOnly => "RDONLY",
            melv::vmdk::Access::None => "NOACCESS",
        };
        let mut line = format!("{access} {} {}", extent.sectors, extent.kind.word());
        if let Some(name) = &extent.name {
            line.push_str(&format!(" \"{name}\" {}", extent.offset_sectors));
            if fuzzing::vmdk_name_refusal(name).is_none() {
                assert!(!name.contains(['/', '\0', '\n']) && name != "." && name != "..");
            }
        } else {
            assert_eq!(extent.kind, ExtentKind::Zero);
        }
        assert_eq!(fuzzing::vmdk_extent(&line).as_ref(), Ok(extent), "{line}");
        text.push_str(&line);
        text.push('\n');
    }
    let again = fuzzing::vmdk_descriptor(text.as_bytes(), false).map(|again| again.extents);
    assert_eq!(again.as_ref(), Ok(&descriptor.extents), "{text}");
}

/// A folder in memory with the file under test, and one that a descriptor may name.
struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: File,
}

fn place() -> &'static Mutex<Place> {
    static PLACE: OnceLock<Mutex<Place>> = OnceLock::new();
    PLACE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = made.expect("a folder");
        let flat: Vec<u8> = (0..64 * 512u32).map(|at| (at / 512) as u8).collect();
        std::fs::write(folder.path().join("flat.bin"), flat).expect("a file");
        let path = folder.path().join("disk.vmdk");
        let file = File::create(&path).expect("a file");
        Mutex::new(Place { _folder: folder, path, file })
    })
}

/// Calls `look` with a file of these bytes.
fn with_file<R>(bytes: &[u8], look: impl FnOnce(&Path) -> R) -> R {
    let mut place = place().lock().unwrap_or_else(PoisonError::into_inner);
    place.file.set_len(0).expect("a file");
    place.file.rewind().expect("a file");
    place.file.write_all(bytes).expect("a file");
    look(&place.path)
}

fn is_typed(error: &Error) -> bool {
    // Not found: a name without a file.
    matches!(
        error.kind(),
        ErrorKind::Damaged
            | ErrorKind::Unsupported
            | ErrorKind::Limit
            | ErrorKind::NotFound
            | ErrorKind::Invalid
    )
}

/// Reads all of a small disk; reads only the ends of a large one and returns `None`.
fn read(disk: &dyn BlockDevice) -> Result<Option<Vec<u8>>> {
    if disk.size() <= READ_WHOLE {
        let mut bytes = vec![0x5a; disk.size() as usize];
        disk.read_at(0, &mut bytes)?;
        return Ok(Some(bytes));
    }
    let mut span = vec![0; SPAN_LEN / 4];
    disk.read_at(0, &mut span)?;
    disk.read_at(disk.size() - span.len() as u64, &mut span)?;
    Ok(None)
}

fn opened(path: &Path) -> Result<(VmdkDisk, Option<Vec<u8>>)> {
    let disk = VmdkDisk::open(path, Gate::Beside)?;
    assert!(disk.size() < 1 << 63 && disk.size().is_multiple_of(512));
    let bytes = read(&disk)?;
    Ok((disk, bytes))
}

/// Checks disks in a file: small reads agree with whole ones, and ranges mapped as zero read as zeros.
pub fn vmdk_sparse(data: &[u8]) {
    let _ = looks_like(data);
    with_file(data, |path| match opened(path) {
        Err(error) => assert!(is_typed(&error), "{error:?}"),
        Ok((disk, Some(bytes))) => {
            let disk_again = VmdkDisk::open(path, Gate::Beside).expect("a disk that was opened before");
            agree(&disk_again, &bytes);
            drop(disk);
        }
        Ok((disk, None)) => {
            let _ = disk.map(0, disk.size());
        }
    });
}

fn agree(disk: &VmdkDisk, bytes: &[u8]) {
    let mut rng = Rng::new(bytes.len() as u64);
    for _ in 0..8 {
        let at = rng.below(bytes.len() as u64 + 1);
        let len = rng.below((bytes.len() as u64 - at).min(20_000) + 1);
        let mut out = vec![0xa5; len as usize];
        disk.read_at(at, &mut out).expect("a read that succeeded before");
        assert!(out == bytes[at as usize..][..len as usize], "a read of {len} at {at}");
    }
    let mut end = 0;
    for_each_run(disk, |start, run| {
        assert_eq!(start, end, "runs follow each other");
        end = start + run.len;
        if run.kind == melv::RunKind::Zero {
            assert!(bytes[start as usize..end as usize].iter().all(|&byte| byte == 0), "zeros at {start}");
        }
        Ok(())
    })
    .expect("the map of a disk that can be read");
    assert_eq!(end, bytes.len() as u64);
}

/// Reads the same through a pipe, with gaps as zeros.
fn piped(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut stream = Stream::open(bytes, "pipe")?;
    let size = stream.size();
    assert!(size < 1 << 63 && size.is_multiple_of(512));
    let mut disk = (size <= READ_WHOLE).then(|| vec![0; size as usize]);
    let mut spare = vec![0; SPAN_LEN];
    let mut next = 0;
    while let Some(span) = stream.next_span()? {
        assert!(span.number >= next, "spans in ascending order");
        next = span.number + 1;
        let start = span.number * SPAN_LEN as u64;
        let len = size.checked_sub(start).expect("a span inside the disk").min(SPAN_LEN as u64) as usize;
        let out = match &mut disk {
            Some(disk) => &mut disk[start as usize..][..len],
            None => {
                spare[..len].fill(0);
                &mut spare[..len]
            }
        };
        (span.fill)(out)?;
    }
    Ok(disk)
}

/// Checks streams: if file and pipe both accept one, both give the same bytes.
pub fn vmdk_stream(data: &[u8]) {
    let from_pipe = piped(data);
    assert!(from_pipe.as_ref().err().is_none_or(is_typed), "{from_pipe:?}");
    with_file(data, |path| {
        let from_file = opened(path).map(|(_, bytes)| bytes);
        assert!(from_file.as_ref().err().is_none_or(is_typed), "{from_file:?}");
        if let (Ok(Some(file)), Ok(Some(pipe))) = (&from_file, &from_pipe) {
            assert!(file == pipe, "file and pipe differ");
        }
    });
}
