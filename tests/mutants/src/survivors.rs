//! What nothing notices must be known, with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::judge::Verdict;
use crate::list::Mutant;

const FILE: &str = "tests/mutants/survivors.txt";

/// Lines of the file: a reason after `#`, for the names below it up to the next reason.
pub fn known(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut reason = String::new();
    let mut known = BTreeMap::new();
    let mut in_reason = false;
    for line in fs::read_to_string(root.join(FILE))?.lines() {
        match line.strip_prefix('#') {
            Some(text) if in_reason => reason = format!("{reason} {}", text.trim()),
            Some(text) => reason = text.trim().to_owned(),
            None if !line.is_empty() => {
                known.insert(line.to_owned(), reason.clone());
            }
            None => {}
        }
        in_reason = line.starts_with('#');
    }
    Ok(known)
}

pub fn report(
    root: &Path,
    mutants: &[Mutant],
    verdicts: &BTreeMap<String, Verdict>,
    whole: bool,
) -> Result<()> {
    let known = known(root)?;
    let survived: Vec<&Verdict> =
        verdicts.values().filter(|verdict| verdict.killer.is_none()).collect();
    let (explained, new): (Vec<&Verdict>, Vec<&Verdict>) =
        survived.iter().partition(|verdict| known.contains_key(&verdict.name));
    println!(
        "{} judged: {} noticed, {} survive and are explained, {} survive and are not",
        verdicts.len(),
        verdicts.len() - survived.len(),
        explained.len(),
        new.len()
    );
    for verdict in &new {
        println!("not explained: {}", verdict.name);
    }
    let stale: Vec<&String> = known
        .keys()
        .filter(|name| match verdicts.get(*name) {
            Some(verdict) => verdict.killer.is_some(),
            None => whole && !mutants.iter().any(|mutant| mutant.name == **name),
        })
        .collect();
    for name in &stale {
        println!("explained, but noticed or gone: {name}");
    }
    if new.is_empty() && stale.is_empty() {
        Ok(())
    } else {
        Err("the list of survivors is not what it should be".into())
    }
}
