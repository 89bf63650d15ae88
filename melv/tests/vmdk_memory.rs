//! The memory cost of reading a VMDK, by the peak of this process: so there is one test.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Barrier;

use melv::vmdk::VmdkDisk;
use melv::{BlockDevice, Gate};
use melv_testing::vmdk::made::{Layout, SECTOR, Sparse, embedded, get32, get64, put32, stream};

const GRAIN_SECTORS: usize = 4096;
const GRAIN: usize = GRAIN_SECTORS * SECTOR;
/// The number of grains: one per thread, so that memory cached by the allocator does not count.
const GRAINS: usize = 32;
/// Almost two grains: the tables then allow the longest stored grain that a thread keeps a buffer for.
const APART: usize = 2 * GRAIN_SECTORS - 8;

fn memory_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Writes a stream of the longest grains, far apart in their file, and their table.
fn far_apart(path: &std::path::Path) {
    let mut disk = vec![0; GRAINS * GRAIN];
    disk.chunks_mut(GRAIN).enumerate().for_each(|(number, grain)| grain.fill(number as u8 + 1));
    let descriptor = Some(embedded("streamOptimized", disk.len()));
    let sparse =
        Sparse { grain_sectors: GRAIN_SECTORS, redundant: false, descriptor, ..stream(Layout::Front) };
    let mut vmdk = sparse.make(&disk);
    let front = get64(&vmdk, 64) as usize;
    let table = get32(&vmdk, get64(&vmdk, 56) as usize * SECTOR) as usize * SECTOR;
    let file = File::create(path).unwrap();
    for number in 0..GRAINS {
        let (from, to) = (get32(&vmdk, table + number * 4) as usize * SECTOR, front + number * APART);
        let len = 12 + get32(&vmdk, from + 8) as usize;
        file.write_all_at(&vmdk[from..from + len], (to * SECTOR) as u64).unwrap();
        put32(&mut vmdk, table + number * 4, to as u32);
    }
    file.write_all_at(&vmdk[..front * SECTOR], 0).unwrap();
    file.set_len(((front + (GRAINS + 1) * APART) * SECTOR) as u64).unwrap();
}

#[test]
fn many_threads_hold_a_grain_each_and_what_is_stored_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.vmdk");
    far_apart(&path);
    let disk = VmdkDisk::open(&path, Gate::Beside).unwrap();
    // Making the file took memory that is free again: reset the peak.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory_kib("VmRSS:");
    let barrier = Barrier::new(GRAINS);
    std::thread::scope(|scope| {
        for grain in 0..GRAINS {
            let (disk, barrier) = (&disk, &barrier);
            scope.spawn(move || {
                let mut bytes = [0; 4096];
                disk.read_at((grain * GRAIN + 8192) as u64, &mut bytes).unwrap();
                assert_eq!(bytes, [grain as u8 + 1; 4096]);
                // All threads' buffers exist at once.
                barrier.wait();
            });
        }
    });
    let most = (memory_kib("VmHWM:").saturating_sub(before)) / 1024;
    println!("{most} MiB for {GRAINS} threads");
    // Per thread: a grain being inflated, a decoder and a stack, plus kept buffers. Two grains of stored
    // bytes per thread, as the tables allow, would exceed this.
    let bound = (GRAINS * 3 + 16) as u64;
    assert!(most <= bound, "{most} MiB, expected at most {bound}");
}
