//! Names that somebody may have meant.

/// At most three of `names`, the nearest first; none when none is near.
pub fn nearest<'n>(meant: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let meant = meant.to_lowercase();
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let known = name.to_lowercase();
            let part_of = meant.len() >= 3 && (known.contains(&meant) || meant.contains(&known));
            let distance = if part_of { 1 } else { distance(&meant, &known) };
            (distance <= 2.max(known.chars().count() / 3)).then_some((distance, name))
        })
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Characters to change, add or remove.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(MOST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(MOST).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// A name longer than this was not meant as one.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_and_nonsense_finds_none() {
        let names = ["forge_get_pr", "forge_get_pull_files", "chat_post"];
        let near = |meant| nearest(meant, names.into_iter());
        assert_eq!(near("forge_get_rp"), ["forge_get_pr"]);
        assert_eq!(near("functions.chat_post"), ["chat_post"]);
        assert_eq!(near("FORGE_GET"), ["forge_get_pr", "forge_get_pull_files"]);
        assert_eq!(near("weather"), [""; 0]);
    }
}
