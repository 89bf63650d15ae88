//! Trees, by hand and at random.

use std::collections::BTreeMap;

use melv_appliance::tree::{Content, Inode, InodeId, Kind, Timestamp, Tree};

use super::Rng;

pub const EPOCH: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };

pub fn inode(kind: Kind) -> Inode {
    let mode = if matches!(kind, Kind::Directory(_)) { 0o755 } else { 0o644 };
    Inode { kind, mode, uid: 0, gid: 0, mtime: EPOCH, xattrs: BTreeMap::new() }
}

pub fn file(bytes: &[u8]) -> Inode {
    inode(Kind::File(Content::Bytes(bytes.to_vec())))
}

pub fn folder() -> Inode {
    inode(Kind::Directory(BTreeMap::new()))
}

pub fn link(target: &[u8]) -> Inode {
    inode(Kind::Symlink(target.to_vec()))
}

pub fn empty_tree() -> Tree {
    let mut tree = Tree::new();
    tree.get_mut(tree.root()).mtime = EPOCH;
    tree
}

pub fn name(tree: &mut Tree, folder: InodeId, name: &[u8], id: InodeId) {
    let Kind::Directory(entries) = &mut tree.get_mut(folder).kind else { panic!("not a folder") };
    entries.insert(name.to_vec(), id);
}

pub fn put(tree: &mut Tree, folder: InodeId, entry: &[u8], inode: Inode) -> InodeId {
    let id = tree.add(inode);
    name(tree, folder, entry, id);
    id
}

/// A tree and the spool that it names.
pub struct Sample {
    pub tree: Tree,
    pub spool: Vec<u8>,
}

const SIZES: [u64; 12] = [0, 1, 100, 4032, 4064, 4095, 4096, 4097, 8191, 8192, 8193, 20_000];

/// Makes a tree of folders, files, holes, links and hard links with odd names, owners, times and attributes.
pub fn random(seed: u64) -> Sample {
    let mut rng = Rng(seed);
    let mut sample = Sample { tree: empty_tree(), spool: Vec::new() };
    let mut folders = vec![(sample.tree.root(), 0)];
    let mut files = Vec::new();
    let root = sample.tree.root();
    decorate(sample.tree.get_mut(root), &mut rng);
    let count = rng.pick(&[1, 10, 60, 300]);
    let crowded = rng.chance(30);
    for _ in 0..count {
        let (parent, depth) = if crowded && rng.chance(70) { folders[0] } else { rng.pick(&folders) };
        let entry = random_name(&mut rng);
        if sample.tree.child(parent, &entry).is_some() {
            continue;
        }
        match rng.below(100) {
            0..25 if depth < 6 => {
                let id = put_random(&mut sample.tree, parent, &entry, folder(), &mut rng);
                folders.push((id, depth + 1));
            }
            0..40 => {
                let length = rng.pick(&[1, 7, 60, 4000, 4040, 4064, 4065, 4095]);
                let target: Vec<u8> =
                    (0..length).map(|at| if at % 200 == 199 { b'/' } else { b't' }).collect();
                put_random(&mut sample.tree, parent, &entry, link(&target), &mut rng);
            }
            40..55 if !files.is_empty() => name(&mut sample.tree, parent, &entry, rng.pick(&files)),
            _ => {
                let content = random_content(&mut sample.spool, &mut rng);
                files.push(put_random(
                    &mut sample.tree,
                    parent,
                    &entry,
                    inode(Kind::File(content)),
                    &mut rng,
                ));
            }
        }
    }
    sample
}

fn put_random(tree: &mut Tree, parent: InodeId, entry: &[u8], mut inode: Inode, rng: &mut Rng) -> InodeId {
    decorate(&mut inode, rng);
    put(tree, parent, entry, inode)
}

fn random_content(spool: &mut Vec<u8>, rng: &mut Rng) -> Content {
    let len = rng.pick(&SIZES) + u64::from(rng.chance(30)) * rng.below(5000);
    match rng.below(10) {
        0 => Content::Zeros { len },
        1..4 => Content::Bytes(rng.bytes(len as usize)),
        _ => {
            let offset = spool.len() as u64;
            let bytes = rng.bytes(len as usize);
            spool.extend(bytes);
            Content::Spooled { offset, len }
        }
    }
}

fn random_name(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.below(10) {
        0 => 255,
        1 => 200 + rng.below(55),
        _ => 1 + rng.below(12),
    };
    let letters: &[u8] =
        rng.pick(&[&b"ab"[..], b"abcdefghijklmnopqrstuvwxyz0123456789", b"-.\x01~\xff\xc3 \n\\"]);
    loop {
        let name: Vec<u8> = (0..length).map(|_| rng.pick(letters)).collect();
        if name != b"." && name != b".." {
            return name;
        }
    }
}

fn decorate(inode: &mut Inode, rng: &mut Rng) {
    let is_link = matches!(inode.kind, Kind::Symlink(_));
    inode.mode = if is_link { 0o777 } else { 0o400 | rng.below(0o10000) as u16 };
    if matches!(inode.kind, Kind::Directory(_)) {
        inode.mode |= 0o700;
    }
    if rng.chance(50) {
        inode.uid = rng.pick(&[1, 1000, 65_535, 65_536, 4_000_000_000]);
        inode.gid = rng.pick(&[0, 100, 65_534, 70_000, u32::MAX - 1]);
    }
    if rng.chance(40) {
        inode.mtime.seconds = rng.pick(&[0, 1, -1, -1_000_000_000, 1_600_000_000, 5_000_000_000]);
        inode.mtime.nanoseconds = rng.pick(&[0, 1, 999_999_999]);
    }
    if rng.chance(25) {
        random_xattrs(inode, rng);
    }
}

fn random_xattrs(inode: &mut Inode, rng: &mut Rng) {
    let is_link = matches!(inode.kind, Kind::Symlink(_));
    for _ in 0..1 + rng.below(6) {
        let length = rng.pick(&[0, 1, 2, 3, 40, 300, 4090, 5000]);
        let value = rng.bytes(length);
        let rest: String = (0..rng.pick(&[1, 3, 30, 240])).map(|_| rng.pick(&['a', 'b', 'c', '.'])).collect();
        let class = rng.pick(&["user.", "trusted.", "security.x"]);
        if !(is_link && class == "user.") {
            inode.xattrs.insert(format!("{class}{rest}").into_bytes(), value);
        }
    }
    if rng.chance(3) {
        inode.xattrs.insert(b"trusted.large".to_vec(), rng.bytes(65_535));
    }
    if matches!(inode.kind, Kind::File(_)) && rng.chance(40) {
        inode.xattrs.insert(b"security.capability".to_vec(), capability());
    }
    if !is_link && rng.chance(40) {
        inode.xattrs.insert(b"system.posix_acl_access".to_vec(), acl(inode.mode));
    }
    if matches!(inode.kind, Kind::Directory(_)) && rng.chance(40) {
        inode.xattrs.insert(b"system.posix_acl_default".to_vec(), acl(0o750));
    }
}

/// `cap_net_bind_service+ep`, revision 2.
pub fn capability() -> Vec<u8> {
    let fields: [u32; 5] = [0x0200_0001, 1 << 10, 0, 0, 0];
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

/// An access control list of owner, user 1000, group, mask and others.
pub fn acl(mode: u16) -> Vec<u8> {
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &(bits & 7).to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let mut bytes = 2u32.to_le_bytes().to_vec();
    bytes.extend(entry(0x01, mode >> 6, u32::MAX));
    bytes.extend(entry(0x02, 5, 1000));
    bytes.extend(entry(0x04, mode >> 3, u32::MAX));
    bytes.extend(entry(0x10, mode >> 3, u32::MAX));
    bytes.extend(entry(0x20, mode, u32::MAX));
    bytes
}

/// Returns the same tree with its inodes added in another order, contents in memory, and inodes that nothing names.
pub fn rebuilt(sample: &Sample, seed: u64) -> Tree {
    let mut rng = Rng(seed);
    let mut ids = Vec::new();
    let mut seen = BTreeMap::from([(sample.tree.root(), ())]);
    let mut queue = vec![sample.tree.root()];
    while let Some(id) = queue.pop() {
        if let Kind::Directory(entries) = &sample.tree.get(id).kind {
            for &child in entries.values() {
                if seen.insert(child, ()).is_none() {
                    ids.push(child);
                    queue.push(child);
                }
            }
        }
    }
    for at in (1..ids.len()).rev() {
        ids.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let mut tree = Tree::new();
    let mut new_ids = BTreeMap::from([(sample.tree.root(), tree.root())]);
    for &id in &ids {
        if rng.chance(10) {
            tree.add(file(b"nothing names this"));
        }
        new_ids.insert(id, tree.add(folder()));
    }
    for (old, &new) in &new_ids {
        let mut inode = sample.tree.get(*old).clone();
        match &mut inode.kind {
            Kind::Directory(entries) => entries.values_mut().for_each(|id| *id = new_ids[id]),
            Kind::File(content @ Content::Spooled { .. }) => {
                *content = Content::Bytes(bytes_of(content, &sample.spool));
            }
            _ => {}
        }
        *tree.get_mut(new) = inode;
    }
    tree
}

pub fn bytes_of(content: &Content, spool: &[u8]) -> Vec<u8> {
    match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Zeros { len } => vec![0; *len as usize],
        Content::Spooled { offset, len } => spool[*offset as usize..(*offset + *len) as usize].to_vec(),
    }
}
