//! The sessions of a user that ended last, whose signs of life count no more.

/// Sessions that are remembered of a user: more never give signs of life within the moment that one takes
/// to arrive.
const REMEMBERED_MAX: usize = 16;

/// Adds sessions that have ended, those used last first, before the ones remembered already. The same
/// sessions a second time change nothing.
pub(super) fn remember(remembered: &mut Vec<String>, ended: &[String]) {
    let ended = ended.iter().take(REMEMBERED_MAX);
    let mut newest: Vec<String> = ended
        .filter(|id| !remembered.contains(id))
        .cloned()
        .collect();
    newest.append(remembered);
    newest.truncate(REMEMBERED_MAX);
    *remembered = newest;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|id| id.to_string()).collect()
    }

    #[test]
    fn the_latest_are_remembered_once_and_in_bounds() {
        let mut remembered = Vec::new();
        remember(&mut remembered, &ids(1..2));
        for _ in ["the first time", "again"] {
            remember(&mut remembered, &ids(2..4));
            assert_eq!(remembered, ["2", "3", "1"]);
        }
        for _ in ["the first time", "again"] {
            remember(&mut remembered, &ids(10..50));
            assert_eq!(remembered, ids(10..10 + REMEMBERED_MAX));
        }
    }
}
