//! What an answer to several says of its usage, shared among them; what several answers say of it, summed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::list::whole;
use crate::base::limits::BATCH_USAGE_NUMBERS_MAX;
use crate::codec::json::cursor::{Cursor, text_of};

/// A usage: where it stands in an answer, and its whole numbers.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) span: Range<usize>,
    numbers: Vec<Number>,
    /// Which of them is the sum of which.
    total: Option<Total>,
}

/// A whole number of it, in the order in which they stand.
#[derive(Debug)]
struct Number {
    span: Range<usize>,
    value: u64,
    /// The names on the way to it.
    path: u64,
}

/// Positions of the total, and of those that it is the sum of.
#[derive(Debug)]
struct Total {
    total: usize,
    terms: Vec<usize>,
}

/// Names of what makes up the total: of what came in, and of what went out.
const TERMS: [[&str; 2]; 2] = [["prompt_tokens", "input_tokens"], ["completion_tokens", "output_tokens"]];
const TOTAL: &str = "total_tokens";

/// Where numbers that stand in the whole itself are among all of them.
#[derive(Debug, Default)]
struct Top {
    total: Option<usize>,
    /// Each term by its names.
    terms: [[Option<usize>; 2]; 2],
}

impl Top {
    /// One comes, as the number at this position.
    fn take(&mut self, name: &str, position: usize) {
        if name == TOTAL {
            self.total = Some(position);
        }
        let known = TERMS.iter().flatten().zip(self.terms.iter_mut().flatten());
        known.filter(|(known, _)| **known == name).for_each(|(_, term)| *term = Some(position));
    }

    /// The total, where it is the sum of what there is.
    fn total(self, numbers: &[Number]) -> Option<Total> {
        let terms: Vec<usize> = self.terms.iter().filter_map(|[one, other]| one.or(*other)).collect();
        let value = |position: &usize| numbers.get(*position).map_or(0, |number| u128::from(number.value));
        let total = self.total.filter(|total| terms.iter().map(value).sum::<u128>() == value(total))?;
        (!terms.is_empty()).then_some(Total { total, terms })
    }
}

impl Usage {
    /// That of `text`, of which `span` is an object.
    pub(super) fn read(text: &[u8], span: Range<usize>) -> Self {
        let mut cursor = Cursor::within(text, &span);
        cursor.enter();
        let mut numbers: Vec<Number> = Vec::new();
        let mut top = Top::default();
        // The containers that are open: the way to them, and how many values of a list have come.
        let mut open = vec![(0_u64, None)];
        while let Some((way, count)) = open.last_mut() {
            let (name, path) = match count {
                None => match cursor.next_key() {
                    Some(key) => {
                        let key = cursor.text(&key);
                        (text_of(key).unwrap_or_default(), hash(*way, key))
                    }
                    None => {
                        open.pop();
                        continue;
                    }
                },
                Some(count) => {
                    if !cursor.next_value() {
                        open.pop();
                        continue;
                    }
                    *count += 1_u64;
                    ("".into(), hash(*way, &*count))
                }
            };
            match cursor.peek() {
                first @ (b'{' | b'[') => {
                    cursor.enter();
                    open.push((path, (first == b'[').then_some(0)));
                }
                _ => {
                    let span = cursor.skip();
                    let Some(value) = whole(cursor.text(&span)) else { continue };
                    // What follows passes as it is.
                    if numbers.len() == BATCH_USAGE_NUMBERS_MAX {
                        break;
                    }
                    if open.len() == 1 {
                        top.take(&name, numbers.len());
                    }
                    numbers.push(Number { span, value, path });
                }
            }
        }
        Self { span, total: top.total(&numbers), numbers }
    }

    /// How many numbers it has.
    pub(super) fn numbers(&self) -> usize {
        self.numbers.len()
    }

    /// The numbers of each member, whose items weigh so much. Their sums are the numbers of the whole, and a total that is a
    /// sum of others stays one.
    pub(super) fn share(&self, weights: &[usize]) -> Vec<Vec<u128>> {
        let mut shares = vec![Vec::with_capacity(self.numbers.len()); weights.len()];
        for number in &self.numbers {
            for (share, of_all) in portions(number.value, weights).into_iter().zip(&mut shares) {
                of_all.push(share);
            }
        }
        if let Some(Total { total, terms }) = &self.total {
            for share in &mut shares {
                let sum = terms.iter().filter_map(|term| share.get(*term)).sum();
                share.get_mut(*total).into_iter().for_each(|total| *total = sum);
            }
        }
        shares
    }

    /// Writes it as it stands in `text`, but with other numbers.
    pub(super) fn write(&self, text: &[u8], numbers: &[u128], out: &mut Vec<u8>) {
        let mut at = self.span.start;
        for (number, value) in self.numbers.iter().zip(numbers) {
            out.extend_from_slice(text.get(at..number.span.start).unwrap_or_default());
            out.extend_from_slice(value.to_string().as_bytes());
            at = number.span.end;
        }
        out.extend_from_slice(text.get(at..self.span.end).unwrap_or_default());
    }
}

/// The numbers of `usage`, each with those of all that stand under the same names.
pub(super) fn sums(usage: &Usage, all: &[&Usage]) -> Vec<u128> {
    let mut sums: HashMap<u64, u128> = HashMap::new();
    for number in all.iter().flat_map(|usage| &usage.numbers) {
        *sums.entry(number.path).or_default() += u128::from(number.value);
    }
    usage.numbers.iter().map(|number| sums.get(&number.path).copied().unwrap_or_default()).collect()
}

/// `whole` in portions as large as the weights say, by the method of the largest remainder: each gets what it must have at
/// least, and what is left goes one by one to those who miss most.
fn portions(whole: u64, weights: &[usize]) -> Vec<u128> {
    let weight_of = |weight: &usize| *weight as u128;
    // Nobody weighs nothing; all who did would get the same.
    let sum = weights.iter().map(weight_of).sum::<u128>();
    let (sum, equal) = if sum == 0 { (weights.len() as u128, true) } else { (sum, false) };
    let mut portions = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (position, weight) in weights.iter().enumerate() {
        let parts = u128::from(whole) * if equal { 1 } else { weight_of(weight) };
        portions.push(parts / sum);
        remainders.push((parts % sum, position));
    }
    let left = u128::from(whole) - portions.iter().sum::<u128>();
    remainders.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    for (_, position) in remainders.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        portions.get_mut(position).into_iter().for_each(|portion| *portion += 1);
    }
    portions
}

fn hash(way: u64, step: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    way.hash(&mut hasher);
    step.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str) -> Usage {
        Usage::read(text.as_bytes(), 0..text.len())
    }

    fn written(text: &str, numbers: &[u128]) -> String {
        let mut out = Vec::new();
        usage(text).write(text.as_bytes(), numbers, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shares_sum_to_the_whole_and_totals_to_their_terms() {
        for (text, weights, expected) in [
            (
                r#"{"prompt_tokens":10,"total_tokens":10}"#,
                vec![1, 1, 1],
                vec![
                    r#"{"prompt_tokens":4,"total_tokens":4}"#,
                    r#"{"prompt_tokens":3,"total_tokens":3}"#,
                    r#"{"prompt_tokens":3,"total_tokens":3}"#,
                ],
            ),
            // Shared on its own the total of the second would be 2.
            (
                r#"{"total_tokens":4, "input_tokens":2,"output_tokens":2}"#,
                vec![3, 3, 2],
                vec![
                    r#"{"total_tokens":2, "input_tokens":1,"output_tokens":1}"#,
                    r#"{"total_tokens":2, "input_tokens":1,"output_tokens":1}"#,
                    r#"{"total_tokens":0, "input_tokens":0,"output_tokens":0}"#,
                ],
            ),
            (
                r#"{"prompt_tokens":2,"completion_tokens":null,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":1},"cost":0.5,"x":-1,"y":[7,"8"]}"#,
                vec![5, 5],
                vec![
                    r#"{"prompt_tokens":1,"completion_tokens":null,"total_tokens":1,"prompt_tokens_details":{"cached_tokens":1},"cost":0.5,"x":-1,"y":[4,"8"]}"#,
                    r#"{"prompt_tokens":1,"completion_tokens":null,"total_tokens":1,"prompt_tokens_details":{"cached_tokens":0},"cost":0.5,"x":-1,"y":[3,"8"]}"#,
                ],
            ),
            (
                r#"{"total_tokens":18446744073709551615}"#,
                vec![usize::MAX, 0],
                vec![r#"{"total_tokens":18446744073709551615}"#, r#"{"total_tokens":0}"#],
            ),
            ("{}", vec![1], vec!["{}"]),
        ] {
            let shares = usage(text).share(&weights);
            let shares: Vec<_> = shares.iter().map(|share| written(text, share)).collect();
            assert_eq!(shares, expected, "{text}");
        }
    }

    #[test]
    fn more_numbers_than_any_engine_tells_pass_as_they_are() {
        let text = format!("{{\"x\":[{}1]}}", "1,".repeat(BATCH_USAGE_NUMBERS_MAX));
        let usage = usage(&text);
        assert_eq!(usage.numbers(), BATCH_USAGE_NUMBERS_MAX);
        let zeros = "0,".repeat(BATCH_USAGE_NUMBERS_MAX);
        assert_eq!(written(&text, &usage.share(&[1, 1])[1]), format!("{{\"x\":[{zeros}1]}}"));
    }

    #[test]
    fn sums_are_of_what_stands_under_the_same_names() {
        let texts = [
            r#"{"prompt_tokens":1,"details":{"cached_tokens":2,"prompt_tokens":4},"list":[1,10]}"#,
            r#"{"details":{"prompt_tokens":8},"prompt_tokens":16,"list":[100]}"#,
            r#"{"prompt_tokens":32,"details":null}"#,
        ];
        let all = texts.map(usage);
        let sums = sums(&all[0], &all.iter().collect::<Vec<_>>());
        assert_eq!(
            written(texts[0], &sums),
            r#"{"prompt_tokens":49,"details":{"cached_tokens":2,"prompt_tokens":12},"list":[101,10]}"#
        );
    }
}
