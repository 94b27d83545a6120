//! Who a container's process runs as: the image's /etc/passwd and /etc/group, read as text. Pure.

use kobune_runtime::{Error, Result, Security, User};

/// The image's two files; empty where it has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// /etc/passwd
    pub(crate) passwd: String,
    /// /etc/group
    pub(crate) group: String,
}

/// The ids of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The primary group first.
    pub(crate) groups: Vec<u32>,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl Accounts {
    fn users(&self) -> impl Iterator<Item = Account<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.trim().parse().ok()?;
            let gid = fields.next()?.trim().parse().ok()?;
            Some(Account { name, uid, gid })
        })
    }

    /// Each group: its name, id and members.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let gid = fields.nth(1)?.trim().parse().ok()?;
            Some((name, gid, fields.next().unwrap_or("")))
        })
    }

    fn group_id(&self, group: &str) -> Result<u32> {
        self.groups()
            .find(|(name, _, _)| *name == group)
            .map(|(_, gid, _)| gid)
            .or_else(|| group.parse().ok())
            .ok_or_else(|| Error::Config {
                message: format!("no group {group:?} in the image's /etc/group"),
            })
    }

    /// The account of a name or number; a number needs no line.
    fn account(&self, user: &str) -> Result<(Option<&str>, u32, u32)> {
        if let Some(account) = self.users().find(|account| account.name == user) {
            return Ok((Some(account.name), account.uid, account.gid));
        }
        let uid = user.parse().map_err(|_| Error::Config {
            message: format!("no user {user:?} in the image's /etc/passwd"),
        })?;
        Ok(match self.users().find(|account| account.uid == uid) {
            Some(account) => (Some(account.name), uid, account.gid),
            None => (None, uid, 0),
        })
    }

    /// The ids for a container: `image_user` is the image's `User` (`name`, `uid`, each with `:group`).
    pub(crate) fn identity(&self, image_user: &str, security: &Security) -> Result<Identity> {
        let (user, group) = match &security.user {
            Some(User::Uid(uid)) => (uid.to_string(), None),
            Some(User::Name(name)) => (name.clone(), None),
            None => match image_user.split_once(':') {
                Some((user, group)) => (user.to_owned(), Some(group)),
                None => (image_user.to_owned(), None),
            },
        };
        let user = if user.is_empty() { "0" } else { &user };
        let (name, uid, mut gid) = self.account(user)?;
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            gid = self.group_id(group)?;
        }
        if let Some(group) = security.group {
            gid = group;
        }
        let mut groups = vec![gid];
        if let Some(name) = name.filter(|_| !security.supplemental_groups_strict) {
            groups.extend(self.memberships(name));
        }
        groups.extend(&security.supplemental_groups);
        let mut seen = std::collections::BTreeSet::new();
        groups.retain(|group| seen.insert(*group));
        Ok(Identity { uid, gid, groups })
    }

    fn memberships<'a>(&'a self, user: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.groups()
            .filter(move |(_, _, members)| members.split(',').any(|member| member.trim() == user))
            .map(|group| group.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/:/bin/false\nbroken\n".into(),
            group: "root:x:0:root\nnginx:x:102:\nlogs:x:7:nginx,root\n".into(),
        }
    }

    #[test]
    fn a_name_has_its_ids_and_memberships() {
        let identity = accounts().identity("nginx", &Security::default()).unwrap();
        assert_eq!(
            identity,
            Identity {
                uid: 101,
                gid: 102,
                groups: vec![102, 7]
            }
        );
    }

    #[test]
    fn no_user_is_root() {
        let identity = accounts().identity("", &Security::default()).unwrap();
        assert_eq!(
            identity,
            Identity {
                uid: 0,
                gid: 0,
                groups: vec![0, 7]
            }
        );
    }

    #[test]
    fn an_unknown_number_is_fine_and_in_group_0() {
        let security = Security {
            user: Some(User::Uid(4000)),
            supplemental_groups: vec![9],
            ..Default::default()
        };
        assert_eq!(
            accounts().identity("nginx", &security).unwrap(),
            Identity {
                uid: 4000,
                gid: 0,
                groups: vec![0, 9]
            }
        );
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it() {
        let error = accounts()
            .identity("nobody-here", &Security::default())
            .unwrap_err();
        assert!(error.to_string().contains("nobody-here"));
    }

    #[test]
    fn run_as_group_wins_and_strict_leaves_the_images_groups_out() {
        let security = Security {
            group: Some(5),
            supplemental_groups_strict: true,
            ..Default::default()
        };
        assert_eq!(
            accounts().identity("nginx:logs", &security).unwrap(),
            Identity {
                uid: 101,
                gid: 5,
                groups: vec![5]
            }
        );
    }
}
