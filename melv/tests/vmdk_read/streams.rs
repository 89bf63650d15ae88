//! Streams: what their markers and tables say holds from a file and from a pipe.

use super::*;

/// Returns the offset, value and length of each marker in a stream.
fn markers(vmdk: &[u8]) -> Vec<(usize, u64, u32)> {
    let mut found = Vec::new();
    let mut at = get64(vmdk, 64) as usize * SECTOR;
    while at < vmdk.len() {
        let (value, len) = (get64(vmdk, at), get32(vmdk, at + 8));
        found.push((at, value, len));
        at += match len {
            0 => SECTOR * (1 + value as usize),
            len => (12 + len as usize).next_multiple_of(SECTOR),
        };
    }
    found
}

#[test]
fn markers_that_disagree_are_refused_from_file_and_pipe() {
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let (vmdk, _) = sparse_vmdk(stream(layout));
        let grains: Vec<_> = markers(&vmdk).into_iter().filter(|(_, _, len)| *len != 0).collect();
        let change = |at: usize, value: u64, len: usize| {
            let mut vmdk = vmdk.clone();
            vmdk[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            vmdk
        };
        let (at, lba, len) = grains[3];
        // Another grain's sector, one off the grid, one past the end.
        for other in [grains[2].1, grains[4].1, lba + 1, 1 << 40] {
            let vmdk = change(at, other, 8);
            assert!(
                matches!(fault(open_bytes(&vmdk)), (place, VmdkViolation::Disagree { .. }) if place == at as u64)
            );
            let (_, found) = fault(import_stream(&vmdk));
            assert!(matches!(found, VmdkViolation::Order { .. } | VmdkViolation::Value { .. }), "{found}");
        }
        // The order and the grid are right: only tables reveal it.
        let missing = change(grains[8].0, 10 * 128, 8);
        assert!(matches!(fault(open_bytes(&missing)).1, VmdkViolation::Disagree { .. }));
        fault(import_stream(&missing));
        // False lengths.
        for other in [len - 1, len + 600, 140_000, u32::MAX] {
            let vmdk = change(at + 8, u64::from(other), 4);
            fault(open_bytes(&vmdk));
            fault(import_stream(&vmdk));
        }
        // Grains in another order.
        let (one, two) = (grains[0].0..grains[1].0, grains[1].0..grains[2].0);
        let swapped = [&vmdk[..one.start], &vmdk[two], &vmdk[one], &vmdk[grains[2].0..]].concat();
        let (_, found) = fault(import_stream(&swapped));
        assert_eq!(found, VmdkViolation::Order { found: 0, previous: 128 });
        assert!(found.to_string().contains("give it as a file"));
    }
}

#[test]
fn a_stream_that_is_out_of_order_is_read_from_a_file() {
    let (vmdk, disk) = sparse_vmdk(Sparse { swapped: true, ..stream(Layout::True) });
    assert_equal(&open_bytes(&vmdk).unwrap(), &disk, "swapped");
    assert!(matches!(fault(import_stream(&vmdk)).1, VmdkViolation::Order { .. }));
}

#[test]
fn a_stream_of_fewer_grains_than_its_tables_is_refused() {
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let (vmdk, _) = sparse_vmdk(stream(layout));
        let grains: Vec<_> = markers(&vmdk).into_iter().filter(|(_, _, len)| *len != 0).collect();
        for cut in [0, 4, grains.len() - 1] {
            let end = grains.get(cut + 1).map_or(vmdk.len(), |next| next.0);
            let without = [&vmdk[..grains[cut].0], &vmdk[end..]].concat();
            fault(import_stream(&without));
            // The stream is also cut off at the grain's boundary.
            let (_, found) = fault(import_stream(&vmdk[..grains[cut].0]));
            assert!(
                matches!(found, VmdkViolation::Cut { .. } | VmdkViolation::StreamTable { .. }),
                "{found}"
            );
        }
    }
}

#[test]
fn tables_of_a_stream_that_lie_are_refused_from_a_pipe() {
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let (vmdk, _) = sparse_vmdk(stream(layout));
        let directory = match layout {
            Layout::True => get64(&vmdk, vmdk.len() - 1024 + 56),
            _ => get64(&vmdk, 56),
        };
        let directory = directory as usize * SECTOR;
        let table = get32(&vmdk, directory) as usize * SECTOR;
        for at in [directory, table, table + 4 * 4, table + 12 * 4, table + 40 * 4] {
            let mut vmdk = vmdk.clone();
            let value = get32(&vmdk, at);
            put32(&mut vmdk, at, value + 1);
            let (_, found) = fault(import_stream(&vmdk));
            assert!(!matches!(found, VmdkViolation::Magic), "{found}");
        }
    }
    let (vmdk, disk) = sparse_vmdk(stream(Layout::True));
    let footer = vmdk.len() - 1024;
    for (field, at, len) in FIELDS {
        if matches!(
            field,
            "descriptor" | "descriptor size" | "redundant" | "overhead" | "unclean" | "newlines"
        ) {
            continue;
        }
        let mut vmdk = vmdk.clone();
        vmdk[footer + at + len - 1] ^= 1;
        fault(open_bytes(&vmdk));
        fault(import_stream(&vmdk));
    }
    let mut nested = vmdk.clone();
    put64(&mut nested, footer + 56, u64::MAX);
    assert!(matches!(fault(open_bytes(&nested)).1, VmdkViolation::Value { .. }));
    assert!(matches!(fault(import_stream(&nested)).1, VmdkViolation::Value { .. }));
    // A header that gives the directory's place, and one that gives another: here, sectors of zeros.
    let mut patched = vmdk.clone();
    put64(&mut patched, 56, get64(&vmdk, footer + 56));
    assert_equal(&open_bytes(&patched).unwrap(), &disk, "patched");
    import_stream(&patched).unwrap();
    put64(&mut patched, 56, (vmdk.len() / SECTOR) as u64 - 1);
    assert!(
        matches!(fault(open_bytes(&patched)), (at, VmdkViolation::Disagree { .. }) if at == footer as u64 + 56)
    );
    assert!(
        matches!(fault(import_stream(&patched)), (at, VmdkViolation::Disagree { .. }) if at == footer as u64 + 56)
    );
    for end in [512, 1024, 1536] {
        assert!(
            matches!(fault(import_stream(&vmdk[..vmdk.len() - end])).1, VmdkViolation::Cut { .. }),
            "{end}"
        );
    }
}

#[test]
fn grains_that_inflate_to_another_length_are_refused() {
    let grain = noise(3).repeat(16);
    type IsExpected = fn(&VmdkViolation) -> bool;
    let cases: [(Vec<u8>, IsExpected); 6] = [
        (deflate(&grain[1..], 1), |fault| {
            matches!(fault, VmdkViolation::GrainLen { found: 65535, expected: 65536, .. })
        }),
        (deflate(&[&grain[..], &[1]].concat(), 1), |fault| {
            matches!(fault, VmdkViolation::GrainLen { found: 65537, .. })
        }),
        (deflate(&vec![0; 100 << 20], 9), |fault| {
            matches!(fault, VmdkViolation::GrainLen { found: 65537, .. })
        }),
        (deflate(&grain, 1)[2..].to_vec(), |fault| matches!(fault, VmdkViolation::Inflate { .. })),
        (deflate(&grain, 1)[..3000].to_vec(), |fault| matches!(fault, VmdkViolation::Inflate { .. })),
        ([deflate(&grain, 1), vec![1]].concat(), |fault| matches!(fault, VmdkViolation::Inflate { .. })),
    ];
    for (stored, is_expected) in cases {
        // One grain after the tables, so that only its own bytes change.
        let sparse =
            Sparse { descriptor: Some(embedded("streamOptimized", grain.len())), ..stream(Layout::Front) };
        let mut vmdk = sparse.make(&grain);
        let at = get64(&vmdk, 64) as usize * SECTOR;
        vmdk.truncate(at + 8);
        vmdk.extend((stored.len() as u32).to_le_bytes());
        vmdk.extend(&stored);
        vmdk.resize(vmdk.len().next_multiple_of(SECTOR), 0);
        for (place, found) in [fault(open_bytes(&vmdk)), fault(import_stream(&vmdk))] {
            let too_long = matches!(found, VmdkViolation::Value { .. }) && stored.len() > 2 * grain.len();
            assert!(is_expected(&found) || too_long, "{found}");
            assert_eq!(place, at as u64);
        }
    }
}

#[test]
fn what_is_no_stream_is_refused_on_a_pipe() {
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    assert!(feature(import_stream(&vmdk)).contains("give it as a file"));
    let (bare, _) = sparse_vmdk(Sparse { grains: Grains::Bare(Layout::Front), ..Sparse::default() });
    assert!(feature(import_stream(&bare)).contains("give it as a file"));
    let text = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    assert!(feature(import_stream(text.as_bytes())).contains("give it as a file"));
    assert_eq!(fault(import_stream(&[0; 4096])), (0, VmdkViolation::NotVmdk));
    assert_eq!(fault(import_stream(&[])), (0, VmdkViolation::NotVmdk));
    // Front tables of terabytes are not held in memory.
    let (mut front, _) = sparse_vmdk(stream(Layout::Front));
    put64(&mut front, 64, 1 << 30);
    assert!(feature(import_stream(&front)).contains("give it as a file"));
}

#[test]
fn a_pipe_that_fails_is_an_io_error() {
    struct Fails<'a>(&'a [u8]);
    impl Read for Fails<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(std::io::ErrorKind::ConnectionReset.into()),
                read => Ok(read),
            }
        }
    }
    let (vmdk, _) = sparse_vmdk(stream(Layout::True));
    assert!(matches!(Stream::open(Fails(&vmdk[..100]), "pipe").detail(), Some(BlockError::Io { .. })));
    let store = store_in(&MemoryStorage::new());
    let stream = Stream::open(Fails(&vmdk[..200_000]), "pipe").unwrap();
    assert!(matches!(
        store.import(Source::spans(stream, "pipe"), &options("failed")).detail(),
        Some(BlockError::Io { .. })
    ));
    assert!(store.image(&"failed".parse().unwrap()).is_err());
}
