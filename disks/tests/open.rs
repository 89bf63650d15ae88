//! The entry points: the format by the content, or the one that the caller gives.
#![cfg_attr(not(feature = "vmdk"), allow(irrefutable_let_patterns, reason = "raw is the only stream then"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::Read;

use melv_block::{BlockError, Container, Error, ErrorKind};
use melv_disks::{DiskError, DiskFormat, ForeignDisk, OpenOptions, PeekedStream, StreamedDisk, open};

/// A file that begins as a qcow2 image does, of a size that is not a multiple of 512.
const QCOW2: &[u8] = b"QFI\xfb\0\0\0\x03 and more";

fn opened(bytes: &[u8], options: &OpenOptions) -> Result<Box<dyn ForeignDisk>, Error> {
    open(file_of(bytes).path(), options)
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn foreign(error: &Error) -> Option<Container> {
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    match error.detail()? {
        DiskError::ForeignFormat { format, .. } => Some(*format),
        _ => None,
    }
}

#[test]
fn a_foreign_format_is_refused_by_name_unless_raw_is_asked_for() {
    let error = opened(QCOW2, &OpenOptions::default()).unwrap_err();
    assert_eq!(foreign(&error), Some(Container::Qcow2));
    assert!(error.to_string().ends_with("is in the format qcow2, which this version of melv does not read"));
    let raw = OpenOptions { format: Some(DiskFormat::Raw), ..OpenOptions::default() };
    let error = opened(QCOW2, &raw).unwrap_err();
    assert!(matches!(error.detail(), Some(BlockError::OddSize { size: 17, .. })), "{error:?}");
    let disk = opened(QCOW2, &OpenOptions { pad: true, ..raw }).unwrap();
    assert_eq!((disk.size(), disk.unpadded_size(), disk.format()), (512, 17, DiskFormat::Raw));
    assert!(disk.warnings().is_empty());
}

#[test]
fn a_disk_without_a_mark_is_raw_and_padded_on_request_alone() {
    let error = opened(&[1; 700], &OpenOptions::default()).unwrap_err();
    assert!(matches!(error.detail(), Some(BlockError::OddSize { size: 700, .. })), "{error:?}");
    let file = file_of(&[1; 700]);
    let disk = open(file.path(), &OpenOptions { pad: true, ..OpenOptions::default() }).unwrap();
    let mut bytes = [9; 1024];
    disk.read_at(0, &mut bytes).unwrap();
    assert_eq!((&bytes[..700], &bytes[700..]), (&[1; 700][..], &[0; 324][..]));
    disk.check_unchanged().unwrap();
}

#[test]
fn what_is_no_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path(), &OpenOptions::default()).unwrap_err();
    assert!(matches!(error.detail(), Some(BlockError::NotDisk { .. })), "{error:?}");
    let error = open(folder.path().join("none"), &OpenOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[cfg(feature = "vmdk")]
#[test]
fn vmdk_that_was_asked_for_is_vmdk_or_nothing() {
    use melv_disks::vmdk::VmdkViolation;

    let vmdk = OpenOptions { format: Some(DiskFormat::Vmdk), ..OpenOptions::default() };
    let error = opened(&[0; 512], &vmdk).unwrap_err();
    let Some(DiskError::Vmdk { violation, .. }) = error.detail() else { panic!("{error:?}") };
    assert_eq!(*violation, VmdkViolation::NotVmdk);
}

#[cfg(not(feature = "vmdk"))]
#[test]
fn without_the_feature_a_vmdk_is_a_foreign_format() {
    let error = opened(b"KDMV", &OpenOptions::default()).unwrap_err();
    assert_eq!(foreign(&error), Some(Container::VmdkSparse));
    let error = PeekedStream::read(&b"KDMV"[..], "pipe").unwrap().open(None).unwrap_err();
    assert_eq!(foreign(&error), Some(Container::VmdkSparse));
}

#[test]
fn a_pipe_is_told_by_its_first_bytes_and_refused_by_its_last() {
    let error = PeekedStream::read(QCOW2, "pipe").unwrap().open(None).unwrap_err();
    assert_eq!(foreign(&error), Some(Container::Qcow2));
    assert!(PeekedStream::read(&[][..], "pipe").unwrap().is_empty());

    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    let bytes = [vec![1; 100_000], footer].concat();
    for (format, is_refused) in [(None, true), (Some(DiskFormat::Raw), false)] {
        let disk = PeekedStream::read(&bytes[..], "pipe").unwrap().open(format).unwrap();
        assert_eq!((disk.known_size(), disk.warnings().len()), (None, 0));
        let StreamedDisk::Raw(mut raw) = disk else { panic!("raw") };
        let mut came = Vec::new();
        let read = raw.read_to_end(&mut came).map_err(|error| Error::io("read", "pipe at byte 0", error));
        assert_eq!(came, bytes);
        assert_eq!(read.as_ref().err().and_then(foreign), is_refused.then_some(Container::VhdFixed));
        if let Err(error) = read {
            assert_eq!(error.object(), Some("pipe"));
        }
    }
}
