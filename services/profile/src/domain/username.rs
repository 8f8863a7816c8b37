//! Suggestions of user names.

use super::fields::USERNAME_CHARACTERS_MAX;

/// The most suggestions for a name that is taken.
const SUGGESTIONS_MAX: usize = 3;
/// The exclusive upper bounds of the numbers at the end of candidates. Short names come first.
const NUMBER_BOUNDS: [u32; 3] = [100, 1_000, 10_000];
/// The number of candidates for each bound: most of them should be free, even for a popular name.
const CANDIDATES_PER_BOUND: usize = 4;

/// Whether a user name is free, with suggestions if it is not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsernameAvailability {
    pub is_available: bool,
    pub suggestions: Vec<String>,
}

/// Builds candidates for suggestions: the name, shortened if necessary, followed by a number. `random_below`
/// returns a random number below its argument.
pub fn username_candidates(
    username: &str,
    mut random_below: impl FnMut(u32) -> u32,
) -> Vec<String> {
    let mut candidates: Vec<String> = vec![];
    for bound in NUMBER_BOUNDS {
        for _ in 0..CANDIDATES_PER_BOUND {
            let number = random_below(bound).to_string();
            let kept = username.len().min(USERNAME_CHARACTERS_MAX - number.len());
            let candidate = format!("{}{number}", &username[..kept]);
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
    }
    candidates
}

impl UsernameAvailability {
    /// The answer for a name that nobody may have; others that begin with it would be no better.
    pub fn without_suggestions() -> Self {
        Self {
            is_available: false,
            suggestions: vec![],
        }
    }

    /// Evaluates which names are taken; `taken` contains them in lower case.
    pub fn evaluate(username: &str, candidates: Vec<String>, taken: &[String]) -> Self {
        let is_free = |name: &str| !taken.contains(&name.to_ascii_lowercase());
        if is_free(username) {
            return Self {
                is_available: true,
                suggestions: vec![],
            };
        }
        let free = candidates.into_iter().filter(|name| is_free(name));
        Self {
            is_available: false,
            suggestions: free.take(SUGGESTIONS_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fields::check_username;

    #[test]
    fn candidates_are_valid_names_that_begin_like_the_requested_one() {
        let longest = "a".repeat(USERNAME_CHARACTERS_MAX);
        let mut numbers = 0..;
        let candidates = username_candidates(&longest, |bound| {
            (numbers.next().expect("endless") * 397) % bound
        });
        assert_eq!(candidates.len(), 12);
        for candidate in candidates {
            assert!(check_username(&candidate).is_ok(), "{candidate}");
            assert!(candidate.starts_with(&longest[..46]), "{candidate}");
        }
    }

    #[test]
    fn only_a_taken_name_has_suggestions_which_are_free() {
        let candidates = || ["Asha1", "Asha2", "Asha3", "Asha4", "Asha5"].map(str::to_owned);
        let evaluate = |taken: &[&str]| {
            let taken: Vec<String> = taken.iter().map(|&name| name.to_owned()).collect();
            UsernameAvailability::evaluate("Asha", candidates().to_vec(), &taken)
        };
        let free = evaluate(&["asha2"]);
        assert_eq!((free.is_available, free.suggestions.len()), (true, 0));
        let taken = evaluate(&["asha", "asha2"]);
        assert_eq!(taken.suggestions, ["Asha1", "Asha3", "Asha4"]);
    }
}
