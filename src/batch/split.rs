//! An answer to several members, as the answers to each.

use super::answer::{Answer, Entry};
use super::list::List;
use super::member::Member;
use super::unfit::Unfit;
use crate::base::limits::BATCH_COMMON_BYTES_MAX;

/// The answer that each of `members` gets.
pub(super) fn split(list: &List<'_>, members: &[&Member], text: &[u8]) -> Result<Vec<Vec<u8>>, Unfit> {
    let mut total = 0_usize;
    let starts: Vec<usize> = members
        .iter()
        .map(|member| {
            let start = total;
            total = total.saturating_add(member.items.saturating_mul(member.each));
            start
        })
        .collect();
    let answer = Answer::read(list, text, total)?;
    if members.len() > 1 && answer.common() > BATCH_COMMON_BYTES_MAX {
        return Err(Unfit::Common);
    }
    let weights: Vec<usize> = members.iter().map(|member| member.bytes).collect();
    let shares = answer.usage.as_ref().map(|usage| usage.share(&weights)).unwrap_or_default();
    let mut parts: Vec<Vec<&Entry>> = vec![Vec::new(); members.len()];
    for entry in &answer.entries {
        let owner = starts.partition_point(|start| *start <= entry.index).saturating_sub(1);
        if let Some(part) = parts.get_mut(owner) {
            part.push(entry);
        }
    }
    let own = members.iter().zip(&starts).zip(&parts).enumerate();
    Ok(own
        .map(|(position, ((member, start), part))| {
            let share = shares.get(position).map_or(&[][..], Vec::as_slice);
            answer.write(share, |out| {
                for entry in part.iter().take(member.top.unwrap_or(usize::MAX)) {
                    answer.write_entry(out, entry, entry.index.saturating_sub(*start));
                }
            })
        })
        .collect())
}
