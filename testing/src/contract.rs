//! The contract of a back end, as one function for its tests.

use std::io::ErrorKind;
use std::time::Duration;

use crate::stores::object;
use melv_format::storage::{Listed, LocalFolder, LockMode};

/// Checks every promise of [`LocalFolder`] against `storage`, which must be empty.
///
/// # Panics
/// At the first broken promise; this is a test.
pub fn check_contract(storage: &dyn LocalFolder) {
    objects(storage);
    names(storage);
    links(storage);
    locks(storage);
}

fn put(storage: &dyn LocalFolder, name: &str, parts: &[&[u8]]) {
    let made = storage.create(&object(name)).expect("create");
    for part in parts {
        made.append(part).expect("append");
    }
    made.sync().expect("sync");
}

fn objects(storage: &dyn LocalFolder) {
    assert_eq!(
        storage.open(&object("a/none")).map(|_| ()).expect_err("no such object").kind(),
        ErrorKind::NotFound
    );
    put(storage, "a/one", &[b"hello ", b"", b"world"]);
    assert_eq!(
        storage.create(&object("a/one")).map(|_| ()).expect_err("taken").kind(),
        ErrorKind::AlreadyExists
    );
    let opened = storage.open(&object("a/one")).expect("open");
    assert_eq!(opened.len(), 11);
    let mut buf = [0; 5];
    opened.read_exact_at(&mut buf, 6).expect("read");
    assert_eq!(&buf, b"world");
    opened.read_exact_at(&mut [], 11).expect("an empty read at the end");
    let past = opened.read_exact_at(&mut buf, 7).expect_err("past the end");
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
}

fn names(storage: &dyn LocalFolder) {
    put(storage, "a/two", &[b"2"]);
    put(storage, "ab", &[b"ab"]);
    let reader = storage.open(&object("a/one")).expect("open");
    storage.publish(&[(object("a/two"), object("a/one")), (object("ab"), object("b/c/d"))]).expect("publish");
    let listed = |prefix| storage.list(prefix).expect("list");
    let one = Listed { name: object("a/one"), len: 1 };
    let deep = Listed { name: object("b/c/d"), len: 2 };
    assert_eq!(listed("a"), std::slice::from_ref(&one), "a prefix ends at a slash, and publish replaces");
    assert_eq!(listed(""), [one.clone(), deep]);
    assert_eq!(listed("nothing"), []);
    let mut old = [0; 5];
    reader.read_exact_at(&mut old, 0).expect("an object that was replaced stays readable");
    assert_eq!(&old, b"hello");
    storage.remove(&[object("b/c/d"), object("b/none")]).expect("remove");
    assert_eq!(listed(""), [one]);
    storage.remove(&[object("a/one")]).expect("remove");
    assert_eq!(listed(""), []);
}

/// Checks that a second name, if supported, outlives the first name and the object that replaces it.
fn links(storage: &dyn LocalFolder) {
    put(storage, "l/one", &[b"one"]);
    match storage.link(&object("l/one"), &object("l/second")) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        linked => {
            linked.expect("link");
            assert_eq!(
                storage.link(&object("l/none"), &object("l/x")).expect_err("no such object").kind(),
                ErrorKind::NotFound
            );
            let taken = storage.link(&object("l/one"), &object("l/second")).expect_err("taken");
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
            put(storage, "l/new", &[b"new"]);
            storage.publish(&[(object("l/new"), object("l/one"))]).expect("publish");
            let mut old = [0; 3];
            storage.open(&object("l/second")).expect("open").read_exact_at(&mut old, 0).expect("read");
            assert_eq!(&old, b"one", "the second name keeps the object");
            storage.publish(&[(object("l/second"), object("l/one"))]).expect("publish");
            storage.open(&object("l/one")).expect("open").read_exact_at(&mut old, 0).expect("read");
            assert_eq!(&old, b"one", "and gives it back");
        }
    }
    storage.remove(&[object("l/one")]).expect("remove");
}

fn locks(storage: &dyn LocalFolder) {
    let take = |mode| storage.lock(&object("lock"), mode, Duration::ZERO);
    let blocked = |mode| take(mode).map(|_| ()).expect_err("held elsewhere").kind();
    let one = take(LockMode::Shared).expect("free");
    let two = take(LockMode::Shared).expect("shared");
    assert_eq!(blocked(LockMode::Exclusive), ErrorKind::WouldBlock);
    drop((one, two));
    let alone = take(LockMode::Exclusive).expect("free again");
    assert_eq!(blocked(LockMode::Shared), ErrorKind::WouldBlock);
    drop(alone);
    take(LockMode::Shared).expect("free again");
}
