//! Users: those of every Debian, those of the declaration, and owners of files.

use super::{
    fault::{Fault, Rule, Spot, nearest, quoted},
    names::{self, MAX_NAME},
    paths::AbsolutePath,
    reader::{Section, Value},
    units::decimal,
};

/// Users with fixed numbers, from Debian's `base-passwd` 3.6: name, user, group.
pub const BASE_USERS: [(&str, u32, u32); 18] = [
    ("root", 0, 0),
    ("daemon", 1, 1),
    ("bin", 2, 2),
    ("sys", 3, 3),
    ("sync", 4, 65534),
    ("games", 5, 60),
    ("man", 6, 12),
    ("lp", 7, 7),
    ("mail", 8, 8),
    ("news", 9, 9),
    ("uucp", 10, 10),
    ("proxy", 13, 13),
    ("www-data", 33, 33),
    ("backup", 34, 34),
    ("list", 38, 38),
    ("irc", 39, 39),
    ("_apt", 42, 65534),
    ("nobody", 65534, 65534),
];

/// Groups with fixed numbers that are not a user's own, from `base-passwd` 3.6.
pub const BASE_GROUPS: [(&str, u32); 26] = [
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("man", 12),
    ("kmem", 15),
    ("dialout", 20),
    ("fax", 21),
    ("voice", 22),
    ("cdrom", 24),
    ("floppy", 25),
    ("tape", 26),
    ("sudo", 27),
    ("audio", 29),
    ("dip", 30),
    ("operator", 37),
    ("src", 40),
    ("shadow", 42),
    ("utmp", 43),
    ("video", 44),
    ("sasl", 45),
    ("plugdev", 46),
    ("staff", 50),
    ("games", 60),
    ("users", 100),
    ("_ssh", 101),
    ("nogroup", 65534),
];

/// A user of the appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of its group, which has the user's name unless Debian has one for the number.
    pub gid: u32,
    /// Numbers of further groups.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: AbsolutePath,
    /// Shell.
    pub shell: AbsolutePath,
}

/// An owner: of a file, or of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Numbers, from the declaration or from the users of every Debian.
    Numbers {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Names that only an image of another origin can know. The group is the user's where none is told.
    Names {
        /// User.
        user: String,
        /// Group.
        group: Option<String>,
    },
}

impl Owner {
    /// User 0 and group 0.
    pub const ROOT: Self = Self::Numbers { uid: 0, gid: 0 };
}

/// Names of users and groups that a declaration may use.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) declared: Vec<User>,
    /// Whether other names may be known to an image of another origin.
    pub(super) open: bool,
}

const KEYS: &[&str] = &["name", "uid", "gid", "groups", "home", "shell"];
const ID: &str = "a number below 4294967295";

impl Users {
    pub(super) fn read(document: &Section<'_>, text: &str, open: bool) -> Result<Self, Fault> {
        let mut users = Self { declared: Vec::new(), open };
        let mut spots: Vec<Spot> = Vec::new();
        for section in document.tables("user", KEYS)? {
            let (spot, user) = users.user(&section)?;
            let first =
                users.declared.iter().position(|other| other.name == user.name || other.uid == user.uid);
            let base = BASE_USERS.iter().find(|(name, uid, _)| *name == user.name || *uid == user.uid);
            if let Some(index) = first {
                let line =
                    spots.get(index).map_or(0, |spot| super::fault::line_and_column(text, spot.offset).0);
                return Err(twice(&spot, &user, line));
            }
            if let Some((name, uid, _)) = base
                && (*name != user.name || *uid != user.uid)
            {
                let expected = "a name and number that are not those of a user of every Debian";
                let found = format!("{} {}, where Debian has {name} {uid}", user.name, user.uid);
                return Err(spot.fault(Rule::Value { expected, found }));
            }
            spots.push(spot);
            users.declared.push(user);
        }
        Ok(users)
    }

    fn user(&self, section: &Section<'_>) -> Result<(Spot, User), Fault> {
        let name = section.require("name")?;
        let uid = section.require("uid")?.integer(0, u64::from(u32::MAX) - 1, ID)?;
        let gid =
            section.optional("gid", |value| value.integer(0, u64::from(u32::MAX) - 1, ID))?.unwrap_or(uid);
        let groups = section.optional("groups", |value| value.each(|entry| self.group_of(entry)))?;
        let home = section.optional("home", |value| value.parse(AbsolutePath::parse))?;
        let shell = section.optional("shell", |value| value.parse(AbsolutePath::parse))?;
        let fixed = |text: &str| AbsolutePath::parse(text).map_err(|rule| section.spot.fault(rule));
        let user = User {
            name: name.parse(|text| names::name(text, MAX_NAME))?,
            uid: narrow(uid),
            gid: narrow(gid),
            groups: groups.unwrap_or_default(),
            home: home.map_or_else(|| fixed("/nonexistent"), Ok)?,
            shell: shell.map_or_else(|| fixed("/usr/sbin/nologin"), Ok)?,
        };
        Ok((name.spot, user))
    }

    fn group_of(&self, value: &Value<'_>) -> Result<u32, Fault> {
        value.parse(|text| {
            id(text).or_else(|| self.group(text)).ok_or_else(|| {
                let nearest = nearest(text, BASE_GROUPS.iter().map(|(name, _)| *name)).map(str::to_owned);
                Rule::Undeclared { thing: "group", name: quoted(text), nearest }
            })
        })
    }

    /// Reads `user`, `user:group`, names or numbers.
    pub(super) fn owner(&self, value: &Value<'_>) -> Result<Owner, Fault> {
        value.parse(|text| self.owner_of(text))
    }

    fn owner_of(&self, text: &str) -> Result<Owner, Rule> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let known = id(user).map_or_else(|| self.ids(user), |uid| Some((uid, self.group_of_id(uid))));
        let gid = group.map(|group| id(group).or_else(|| self.group(group)));
        match (known, gid) {
            (Some((uid, own)), None) => Ok(Owner::Numbers { uid, gid: own }),
            (Some((uid, _)), Some(Some(gid))) => Ok(Owner::Numbers { uid, gid }),
            _ if self.open => {
                names::name(user, MAX_NAME)?;
                let group = group.map(|group| names::name(group, MAX_NAME)).transpose()?;
                Ok(Owner::Names { user: user.to_owned(), group })
            }
            (None, _) => {
                let declared = self.declared.iter().map(|user| user.name.as_str());
                let all = declared.chain(BASE_USERS.iter().map(|(name, ..)| *name));
                let nearest = nearest(user, all).map(str::to_owned);
                Err(Rule::Undeclared { thing: "user", name: quoted(user), nearest })
            }
            (Some(_), _) => {
                let group = group.unwrap_or_default();
                let nearest = nearest(group, BASE_GROUPS.iter().map(|(name, _)| *name)).map(str::to_owned);
                Err(Rule::Undeclared { thing: "group", name: quoted(group), nearest })
            }
        }
    }

    fn ids(&self, name: &str) -> Option<(u32, u32)> {
        let declared = self.declared.iter().find(|user| user.name == name).map(|user| (user.uid, user.gid));
        declared
            .or_else(|| BASE_USERS.iter().find(|(base, ..)| *base == name).map(|(_, uid, gid)| (*uid, *gid)))
    }

    /// Returns the group of a user by number; its own number where no user has it.
    fn group_of_id(&self, uid: u32) -> u32 {
        let declared = self.declared.iter().find(|user| user.uid == uid).map(|user| user.gid);
        let base = || BASE_USERS.iter().find(|(_, base, _)| *base == uid).map(|(.., gid)| *gid);
        declared.or_else(base).unwrap_or(uid)
    }

    fn group(&self, name: &str) -> Option<u32> {
        let declared = self.declared.iter().find(|user| user.name == name).map(|user| user.gid);
        let base = BASE_GROUPS.iter().find(|(base, _)| *base == name).map(|(_, gid)| *gid);
        // The own groups of users have the users' names and numbers.
        let own =
            BASE_USERS.iter().find(|(base, uid, gid)| *base == name && uid == gid).map(|(.., gid)| *gid);
        declared.or(base).or(own)
    }
}

fn id(text: &str) -> Option<u32> {
    // 2^32 - 1 means "leave as it is" to the kernel.
    decimal(text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number != u32::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX - 1)
}

fn twice(spot: &Spot, user: &User, first_line: usize) -> Fault {
    spot.fault(Rule::Twice { thing: "user", name: format!("{} ({})", user.name, user.uid), first_line })
}
