//! Users and groups: the texts of `/etc/passwd` and `/etc/group`, and names that an image of another origin knows.

use std::fmt::Write as _;

use thiserror::Error;

use crate::{
    closure::lookup::resolve,
    contents::Contents,
    declaration::{BASE_GROUPS, BASE_USERS, Declaration, Owner, User},
    tree::{Content, Kind, Tree},
};

/// Path of the users.
pub const PASSWD: &str = "/etc/passwd";
/// Path of the groups.
pub const GROUP: &str = "/etc/group";
/// Longest text of users or groups that is read, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// A user or group that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the {kind} {name} is neither declared nor in {file} of the image")]
pub struct UnknownOwner {
    /// `user` or `group`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The file that was read.
    pub file: &'static str,
}

/// The users and groups of a tree.
#[derive(Debug, Clone, Default)]
pub struct Users {
    passwd: String,
    group: String,
}

impl Users {
    /// Reads the users of a tree; those of every Debian where the tree has none. Adds the declared ones.
    pub fn of(tree: &Tree, contents: &dyn Contents, declaration: &Declaration) -> Self {
        let has_shell = declaration.shell;
        let mut users = Self {
            passwd: text_of(tree, contents, PASSWD).unwrap_or_else(|| base_passwd(has_shell)),
            group: text_of(tree, contents, GROUP).unwrap_or_else(base_group),
        };
        for user in &declaration.users {
            users.add(user);
        }
        users
    }

    /// Returns the text of `/etc/passwd`.
    #[must_use]
    pub fn passwd(&self) -> &str {
        &self.passwd
    }

    /// Returns the text of `/etc/group`.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Returns the numbers of a user and a group.
    ///
    /// # Errors
    ///
    /// A name that nobody knows.
    pub fn ids(&self, owner: &Owner) -> Result<(u32, u32), UnknownOwner> {
        let (user, group) = match owner {
            Owner::Numbers { uid, gid } => return Ok((*uid, *gid)),
            Owner::Names { user, group } => (user, group),
        };
        let line = entry(&self.passwd, user);
        let uid = line.as_ref().and_then(|fields| number(fields, 2)).or_else(|| user.parse().ok());
        let unknown = |kind, name: &str, file| UnknownOwner { kind, name: name.into(), file };
        let uid = uid.ok_or_else(|| unknown("user", user, PASSWD))?;
        let gid = match group {
            None => line.as_ref().and_then(|fields| number(fields, 3)).unwrap_or(uid),
            Some(group) => entry(&self.group, group)
                .and_then(|fields| number(&fields, 2))
                .or_else(|| group.parse().ok())
                .ok_or_else(|| unknown("group", group, GROUP))?,
        };
        Ok((uid, gid))
    }

    /// Returns the further groups of a user, by number.
    #[must_use]
    pub fn groups(&self, uid: u32) -> Vec<u32> {
        let Some(user) = self.passwd.lines().map(fields).find(|fields| number(fields, 2) == Some(uid)) else {
            return Vec::new();
        };
        let name = user.first().copied().unwrap_or_default();
        let is_member =
            |fields: &Vec<&str>| fields.get(3).is_some_and(|all| all.split(',').any(|one| one == name));
        self.group.lines().map(fields).filter(is_member).filter_map(|fields| number(&fields, 2)).collect()
    }

    fn add(&mut self, user: &User) {
        if entry(&self.passwd, &user.name).is_none() {
            let User { name, uid, gid, home, shell, .. } = user;
            line(&mut self.passwd, &format!("{name}:x:{uid}:{gid}::{home}:{shell}"));
        }
        let has_group =
            |gid: u32| self.group.lines().map(fields).any(|fields| number(&fields, 2) == Some(gid));
        if !has_group(user.gid) {
            line(&mut self.group, &format!("{}:x:{}:", user.name, user.gid));
        }
        for gid in &user.groups {
            self.group = with_member(&self.group, *gid, &user.name);
        }
    }
}

/// Adds a member to the group with that number, which is made where there is none.
fn with_member(group: &str, gid: u32, name: &str) -> String {
    let mut text = String::new();
    let mut is_there = false;
    for old in group.lines() {
        let fields = fields(old);
        let members = fields.get(3).copied().unwrap_or_default();
        if number(&fields, 2) != Some(gid) {
            line(&mut text, old);
            continue;
        }
        is_there = true;
        match members {
            "" => line(&mut text, &format!("{}{name}", old.trim_end())),
            _ if members.split(',').any(|member| member == name) => line(&mut text, old),
            _ => line(&mut text, &format!("{},{name}", old.trim_end())),
        }
    }
    if !is_there {
        line(&mut text, &format!("group{gid}:x:{gid}:{name}"));
    }
    text
}

fn line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

fn number(fields: &[&str], index: usize) -> Option<u32> {
    fields.get(index)?.parse().ok()
}

fn entry<'t>(text: &'t str, name: &str) -> Option<Vec<&'t str>> {
    text.lines().map(fields).find(|fields| fields.first() == Some(&name))
}

fn text_of(tree: &Tree, contents: &dyn Contents, path: &str) -> Option<String> {
    let found = resolve(tree, path.as_bytes()).ok()?;
    let bytes = match &tree.get(found.id).kind {
        Kind::File(Content::Bytes(bytes)) => bytes.clone(),
        Kind::File(Content::Spooled { offset, len }) if *len <= MAX_TEXT => {
            let mut bytes = vec![0; usize::try_from(*len).ok()?];
            contents.read_at(*offset, &mut bytes).ok()?;
            bytes
        }
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

fn base_passwd(has_shell: bool) -> String {
    let mut text = String::new();
    for (name, uid, gid) in BASE_USERS {
        let (home, shell) = match name {
            "root" if has_shell => ("/root", "/bin/sh"),
            "root" => ("/root", "/usr/sbin/nologin"),
            "www-data" => ("/var/www", "/usr/sbin/nologin"),
            _ => ("/nonexistent", "/usr/sbin/nologin"),
        };
        let _ = writeln!(text, "{name}:x:{uid}:{gid}:{name}:{home}:{shell}");
    }
    text
}

fn base_group() -> String {
    let own = BASE_USERS.iter().filter(|(_, uid, gid)| uid == gid).map(|(name, _, gid)| (*name, *gid));
    let mut all: Vec<(&str, u32)> = own.chain(BASE_GROUPS).collect();
    all.sort_by_key(|(_, gid)| *gid);
    all.dedup_by_key(|(_, gid)| *gid);
    let mut text = String::new();
    for (name, gid) in all {
        let _ = writeln!(text, "{name}:x:{gid}:");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Declaration {
        Declaration::parse(
            format!("suite = \"bookworm\"\n{text}\n[[service]]\nname = \"a\"\ncommand = [\"/a\"]\n")
                .as_bytes(),
        )
        .expect("a declaration")
    }

    fn users(text: &str) -> Users {
        Users::of(&Tree::new(), &Vec::new(), &declared(text))
    }

    #[test]
    fn every_appliance_has_the_users_of_debian_and_its_own() {
        let users = users("[[user]]\nname = \"app\"\nuid = 1000\ngroups = [\"adm\"]");
        assert!(
            users.passwd().starts_with("root:x:0:0:root:/root:/usr/sbin/nologin\n"),
            "{}",
            users.passwd()
        );
        assert!(users.passwd().ends_with("app:x:1000:1000::/nonexistent:/usr/sbin/nologin\n"));
        assert!(users.group().contains("\nadm:x:4:app\n") && users.group().ends_with("\napp:x:1000:\n"));
        assert_eq!(users.groups(1000), [4]);
        assert_eq!(users.groups(33), Vec::<u32>::new());
    }

    #[test]
    fn names_of_an_image_are_read_from_its_own_files() {
        let mut tree = Tree::new();
        let mut placer = super::super::place::Placer { tree: &mut tree, time: Default::default() };
        let bytes = |text: &str| Content::Bytes(text.as_bytes().to_vec());
        let access = super::super::place::Access::root(0o644);
        placer.file(PASSWD, bytes("node:x:1000:1001::/home/node:/bin/sh\n"), access).expect("placed");
        placer.file(GROUP, bytes("node:x:1001:\nstaff:x:50:node"), access).expect("placed");
        let users = Users::of(&tree, &Vec::new(), &declared(""));
        let ids = |user: &str, group: Option<&str>| {
            users.ids(&Owner::Names { user: user.into(), group: group.map(Into::into) })
        };
        assert_eq!(ids("node", None), Ok((1000, 1001)));
        assert_eq!(ids("node", Some("staff")), Ok((1000, 50)));
        assert_eq!(ids("7", Some("9")), Ok((7, 9)));
        assert_eq!(users.groups(1000), [50]);
        assert_eq!(ids("nobody", None).expect_err("unknown").name, "nobody");
        assert_eq!(ids("node", Some("none")).expect_err("unknown").kind, "group");
    }
}
