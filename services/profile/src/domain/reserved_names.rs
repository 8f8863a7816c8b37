//! User names that only the platform may have, since people would trust them.

/// Names by which people expect to reach the platform itself.
const RESERVED_NAMES: [&str; 13] = [
    "admin",
    "administrator",
    "customercare",
    "customerservice",
    "helpdesk",
    "moderator",
    "official",
    "root",
    "staff",
    "support",
    "system",
    "talktime",
    "talktimeteam",
];

/// The reserved names of a deployment.
#[derive(Clone, Debug)]
pub struct ReservedNames {
    /// In the form of [`fold_lookalikes`].
    folded: Vec<String>,
}

impl ReservedNames {
    /// Adds names, such as that of the product, to those that every deployment reserves. Characters that no user
    /// name has are ignored.
    pub fn with_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let all = RESERVED_NAMES.into_iter().chain(names);
        let mut folded: Vec<String> = all.map(fold_lookalikes).collect();
        folded.retain(|name| !name.is_empty());
        Self { folded }
    }

    /// Whether a user name is reserved: it reads like a reserved one, with or without underscores and with a number
    /// behind it, or one of its parts between underscores does. `Adm1n_Asha` is reserved, `Badminton` is not.
    pub fn contains(&self, username: &str) -> bool {
        let parts = username.split('_');
        let joined = username.replace('_', "");
        parts.chain([joined.as_str()]).any(|part| {
            let unnumbered = part.trim_end_matches(|c: char| c.is_ascii_digit());
            [part, unnumbered].iter().any(|name| self.is_listed(name))
        })
    }

    fn is_listed(&self, name: &str) -> bool {
        self.folded.contains(&fold_lookalikes(name))
    }
}

/// Writes characters that look alike in many fonts in one way: `Adm1n` and `adrnin` both
/// become `admln`.
fn fold_lookalikes(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let letters = lower.chars().filter_map(|c| match c {
        '0' => Some('o'),
        '1' | 'i' | '|' => Some('l'),
        '3' => Some('e'),
        '4' => Some('a'),
        '5' => Some('s'),
        '7' => Some('t'),
        '8' => Some('b'),
        c => c.is_ascii_alphanumeric().then_some(c),
    });
    let folded: String = letters.collect();
    folded.replace("rn", "m").replace("vv", "w")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_platform_are_reserved_however_they_are_written() {
        let names = ReservedNames::with_names(["Hello India"]);
        for reserved in [
            "admin",
            "ADMIN",
            "Adm1n",
            "adrnin",
            "admin_",
            "a_d_m_i_n",
            "admin007",
            "Admin_Asha",
            "asha_admin_2",
            "Talk_Time",
            "Ta1kt1me",
            "talktime_support",
            "5upport",
            "hello_india",
            "He1lo1ndia",
        ] {
            assert!(names.contains(reserved), "{reserved}");
        }
    }

    #[test]
    fn names_of_people_are_not_reserved() {
        let names = ReservedNames::with_names(["", "---"]);
        for free in [
            "Badminton",
            "supporter",
            "asha",
            "Asha_99",
            "12345",
            "___",
            "systematic_ravi",
            "rooted",
        ] {
            assert!(!names.contains(free), "{free}");
        }
    }
}
