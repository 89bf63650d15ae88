//! Promises of the GPT writer, against sgdisk and sfdisk.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Rng, hash, run};
use melv_appliance::gpt::{Alignment, GptError, Guid, LEGACY_BIOS_BOOTABLE, Partition, Table};

const MIB: u64 = 1 << 20;

fn guid(last: u8) -> Guid {
    format!("0f0f0f0f-0000-4000-8000-0000000000{last:02x}").parse().unwrap()
}

fn partition(number: u8, size_bytes: u64) -> Partition {
    let name = format!("part-{number}");
    Partition { type_guid: Guid::LINUX_ROOT_X86_64, guid: guid(number), name, attributes: 0, size_bytes }
}

fn appliance() -> Table {
    let esp = Partition {
        type_guid: Guid::EFI_SYSTEM,
        attributes: LEGACY_BIOS_BOOTABLE,
        name: "melv-esp".to_owned(),
        ..partition(2, 17 * MIB)
    };
    let root = Partition { name: "melv-root".to_owned(), ..partition(3, 5 * MIB + 4096) };
    Table::new(guid(1), Alignment::TwoMib, &[0xF4; 440], vec![esp, root]).unwrap()
}

fn write(table: &Table, path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(table.size_bytes()).unwrap();
    file.write_all_at(&table.head(), 0).unwrap();
    let tail = table.tail();
    file.write_all_at(&tail, table.size_bytes() - tail.len() as u64).unwrap();
}

/// Both tools find no fault.
fn verify(table: &Table) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    write(table, &path);
    let path = path.to_str().unwrap();
    let shown = run("sgdisk", ["-v", path]);
    assert!(shown.contains("No problems found"), "{shown}");
    assert!(!shown.to_lowercase().contains("warning") && !shown.contains("aution"), "{shown}");
    let shown = run("sfdisk", ["--verify", path]);
    assert!(shown.contains("No errors detected"), "{shown}");
    run("sgdisk", ["-p", path]) + &run("sgdisk", ["-i", "1", path]) + &run("sfdisk", ["--dump", path])
}

#[test]
fn sgdisk_and_sfdisk_find_the_partitions_and_no_fault() {
    let table = appliance();
    let shown = verify(&table);
    for part in [
        "Attribute flags: 0000000000000004",
        "Disk identifier (GUID): 0F0F0F0F-0000-4000-8000-000000000001",
        "Partition GUID code: C12A7328-F81F-11D2-BA4B-00A0C93EC93B (EFI system partition)",
        "Partition unique GUID: 0F0F0F0F-0000-4000-8000-000000000002",
        "Partition name: 'melv-esp'",
        "attrs=\"LegacyBIOSBootable\"",
        "start=       40960, size=       12288",
    ] {
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    let places: Vec<_> =
        table.places().iter().map(|place| (place.offset_bytes / MIB, place.size_bytes / MIB)).collect();
    assert_eq!(places, [(2, 18), (20, 6)]);
    assert_eq!(table.size_bytes(), 28 * MIB);
}

#[test]
fn random_tables_are_faultless() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let alignment = rng.pick(&[Alignment::OneMib, Alignment::TwoMib]);
        let count = rng.pick(&[0, 1, 2, 7, 128]);
        let partitions: Vec<_> = (1..=count).map(|at| partition(at, 1 + rng.below(9 * MIB))).collect();
        let table = Table::new(guid(0), alignment, b"", partitions.clone()).unwrap();
        if count > 0 {
            verify(&table);
        }
        let mut end = alignment.bytes();
        for (place, partition) in table.places().iter().zip(&partitions) {
            assert_eq!(place.offset_bytes, end);
            assert!(
                (partition.size_bytes..partition.size_bytes + alignment.bytes()).contains(&place.size_bytes)
            );
            end += place.size_bytes;
        }
    }
}

#[test]
fn a_disk_beyond_32_bit_sectors_is_faultless() {
    verify(&Table::new(guid(0), Alignment::OneMib, b"", vec![partition(1, 3 << 40)]).unwrap());
}

#[test]
fn the_golden_table_never_changes() {
    let table = appliance();
    let (head, tail) = (table.head(), table.tail());
    assert_eq!((head.len(), tail.len()), (34 * 512, 33 * 512));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&head[440..462]), "00000000000000000200eeffffff01000000ffdf0000");
    assert_eq!(hex(&head[462..512]), "00".repeat(48) + "55aa");
    assert_eq!(
        hex(&head[512..604]),
        "4546492050415254000001005c0000007b489086000000000100000000000000ffdf0000000000002200000000000000\
         dedf0000000000000f0f0f0f00000040800000000000000102000000000000008000000080000000c16f7a50"
    );
    assert_eq!(hash(&head), "a1dff8bef3d11fb208bcdc2afb07a759");
    assert_eq!(hash(&tail), "6b20d53bc98a9a8c96baf85c8ded8c1b");
}

#[test]
fn the_two_tables_differ_in_their_places_alone() {
    let table = appliance();
    let (head, tail) = (table.head(), table.tail());
    assert!(head[1024..] == tail[..32 * 512]);
    let (first, second) = (&head[512..1024], &tail[32 * 512..]);
    assert_eq!((&first[24..32], &first[32..40]), (&second[32..40], &second[24..32]));
    assert_eq!(first[40..72], second[40..72]);
}

#[test]
fn partitions_out_of_bounds_are_refused() {
    let table = |partitions| Table::new(guid(0), Alignment::OneMib, b"", partitions).map(|_| ());
    let named = |name: &str| Partition { name: name.to_owned(), ..partition(1, 1) };
    assert_eq!(table(vec![named(&"n".repeat(37))]), Err(GptError::InvalidName { number: 1, units: 37 }));
    assert_eq!(table(vec![named("a\0")]), Err(GptError::InvalidName { number: 1, units: 2 }));
    assert_eq!(table(vec![named(&"ö".repeat(36))]), Ok(()));
    assert_eq!(table(vec![partition(1, 1), partition(2, 0)]), Err(GptError::Empty { number: 2 }));
    let twice = vec![partition(1, 1), partition(2, 1), partition(1, 1)];
    assert_eq!(table(twice), Err(GptError::DuplicateGuid { number: 3, first: 1, guid: guid(1) }));
    let nil = Partition { guid: Guid([0; 16]), ..partition(1, 1) };
    assert_eq!(table(vec![nil]), Err(GptError::NilGuid { number: 1 }));
    for size in [u64::MAX, 1 << 63, (1 << 63) - MIB] {
        assert_eq!(table(vec![partition(1, size)]), Err(GptError::TooLong { number: 1 }));
    }
    let many = (0..129u8).map(|at| partition(at, 1)).collect();
    assert_eq!(table(many), Err(GptError::TooManyPartitions { count: 129 }));
    let code = Table::new(guid(0), Alignment::OneMib, &[0; 441], Vec::new()).map(|_| ());
    assert_eq!(code, Err(GptError::BootCodeTooLong { length: 441 }));
}
