//! The contract of a back end, as one function for its tests.

use std::io::ErrorKind;
use std::time::Duration;

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
    let object = storage.create(name).expect("create");
    for part in parts {
        object.append(part).expect("append");
    }
    object.sync().expect("sync");
}

fn objects(storage: &dyn LocalFolder) {
    assert_eq!(storage.open("a/none").map(|_| ()).expect_err("no such object").kind(), ErrorKind::NotFound);
    put(storage, "a/one", &[b"hello ", b"", b"world"]);
    assert_eq!(storage.create("a/one").map(|_| ()).expect_err("taken").kind(), ErrorKind::AlreadyExists);
    let object = storage.open("a/one").expect("open");
    assert_eq!(object.len(), 11);
    let mut buf = [0; 5];
    object.read_exact_at(&mut buf, 6).expect("read");
    assert_eq!(&buf, b"world");
    object.read_exact_at(&mut [], 11).expect("an empty read at the end");
    let past = object.read_exact_at(&mut buf, 7).expect_err("past the end");
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
}

fn names(storage: &dyn LocalFolder) {
    put(storage, "a/two", &[b"2"]);
    put(storage, "ab", &[b"ab"]);
    let reader = storage.open("a/one").expect("open");
    storage.publish(&[("a/two".into(), "a/one".into()), ("ab".into(), "b/c/d".into())]).expect("publish");
    let listed = |prefix| storage.list(prefix).expect("list");
    let one = Listed { name: "a/one".into(), len: 1 };
    let deep = Listed { name: "b/c/d".into(), len: 2 };
    assert_eq!(listed("a"), std::slice::from_ref(&one), "a prefix ends at a slash, and publish replaces");
    assert_eq!(listed(""), [one.clone(), deep]);
    assert_eq!(listed("nothing"), []);
    let mut old = [0; 5];
    reader.read_exact_at(&mut old, 0).expect("an object that was replaced stays readable");
    assert_eq!(&old, b"hello");
    storage.remove(&["b/c/d".into(), "b/none".into()]).expect("remove");
    assert_eq!(listed(""), [one]);
    storage.remove(&["a/one".into()]).expect("remove");
    assert_eq!(listed(""), []);
}

/// Checks that a second name, if supported, outlives the first name and the object that replaces it.
fn links(storage: &dyn LocalFolder) {
    put(storage, "l/one", &[b"one"]);
    match storage.link("l/one", "l/second") {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        linked => {
            linked.expect("link");
            assert_eq!(
                storage.link("l/none", "l/x").expect_err("no such object").kind(),
                ErrorKind::NotFound
            );
            let taken = storage.link("l/one", "l/second").expect_err("taken");
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
            put(storage, "l/new", &[b"new"]);
            storage.publish(&[("l/new".into(), "l/one".into())]).expect("publish");
            let mut old = [0; 3];
            storage.open("l/second").expect("open").read_exact_at(&mut old, 0).expect("read");
            assert_eq!(&old, b"one", "the second name keeps the object");
            storage.publish(&[("l/second".into(), "l/one".into())]).expect("publish");
            storage.open("l/one").expect("open").read_exact_at(&mut old, 0).expect("read");
            assert_eq!(&old, b"one", "and gives it back");
        }
    }
    storage.remove(&["l/one".into()]).expect("remove");
}

fn locks(storage: &dyn LocalFolder) {
    let take = |mode| storage.lock("lock", mode, Duration::ZERO);
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
