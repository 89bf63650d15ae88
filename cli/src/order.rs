//! The order of names in lists: numbers in them are compared as numbers.

use std::cmp::Ordering;

use melv::RefName;

/// Compares names so that 2 comes before 10.
pub fn natural(one: &RefName, other: &RefName) -> Ordering {
    let order = natural_text(one.name(), other.name()).then_with(|| natural_text(one.tag(), other.tag()));
    order.then_with(|| one.cmp(other))
}

fn natural_text(mut one: &str, mut other: &str) -> Ordering {
    loop {
        let ((first, one_rest), (second, other_rest)) = (part(one), part(other));
        let order = match (is_number(first), is_number(second)) {
            (true, true) => {
                let (first, second) = (first.trim_start_matches('0'), second.trim_start_matches('0'));
                first.len().cmp(&second.len()).then_with(|| first.cmp(second))
            }
            _ => first.cmp(second),
        };
        if order != Ordering::Equal || first.is_empty() {
            return order;
        }
        (one, other) = (one_rest, other_rest);
    }
}

/// Splits off the leading digits, or the text up to the first digit.
fn part(text: &str) -> (&str, &str) {
    let digits = is_number(text);
    text.split_at(text.find(|char: char| char.is_ascii_digit() != digits).unwrap_or(text.len()))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_ordered_as_numbers() {
        let ordered = [
            // The tag `latest` comes after numbers.
            "a:1",
            "a:2",
            "a:10",
            "a:latest",
            "a1:latest",
            "a1.2:latest",
            "a1.10:latest",
            "a02:latest",
            "a2:latest",
            "a-1:latest",
            "a-2:latest",
            "a-10:latest",
            "a-10-b:latest",
            "b:latest",
        ];
        let mut sorted: Vec<RefName> = ordered.iter().rev().filter_map(|text| text.parse().ok()).collect();
        sorted.sort_by(natural);
        assert_eq!(sorted.iter().map(ToString::to_string).collect::<Vec<_>>(), ordered);
    }
}
