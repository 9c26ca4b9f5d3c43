//! The nickname of firmware: two words that stand for the first two bytes of its UUID (format §1.6).

use uuid::Uuid;

/// The words by number. Which word has which number is a fact of the format; the list is sorted by length here: the word
/// with the number `n` has `n % 5 + 3` letters and is the `n / 5`th of these.
const WORDS: [&str; 5] = [
    "act add aim all arm ask bar bid boy can cat cup day dry egg era fan few fix fog fox gap hat hip ice \
     job key kid lab mad mix net nut oak oil one pen pig raw rug run say shy spy tag tip toe toy two van \
     web zoo",
    "able away best bone cake chat club corn dash dice drip east fall fine foil gain glad grit head hood \
     idea jump kiwi lazy link loop math mind name nose open pass plug pulp ramp ring safe seed sign slot \
     soon step tape text tiny trip undo visa wasp wild yard",
    "about aisle anger armor beach bless brick cabin chalk civil cloud craft curve dream earth entry \
     exist field focus gauge glove grunt hello inner labor light maple mimic nasty offer owner piano \
     power purse ready round scrap shock skill snack spawn spray still super table tired trade truth \
     vague vivid zebra",
    "absent advice annual assume barrel bitter bronze camera casual cherry column credit debris depend \
     dinner dragon energy estate expire finger fossil garlic guitar horror indoor invest laptop lonely \
     margin middle motion nephew online palace phrase praise reason relief resist ripple salute select \
     silver sphere street symbol ticket travel unfold valley voyage",
    "abandon address analyst apology average bargain blanket capital certain coconut conduct crucial \
     cushion despair dilemma dynamic emotion essence exhibit fatigue forward genuine gravity illness \
     initial jealous lecture lottery mention monitor network observe ostrich peasant popular present \
     program pudding raccoon release satisfy session slender stomach supreme thunder trigger uncover \
     utility vibrant weather",
];

/// Letters of the shortest words.
const SHORTEST: usize = 3;

fn word(number: u8) -> &'static str {
    let (row, column) = (usize::from(number) / WORDS.len(), usize::from(number) % WORDS.len());
    let len = column + SHORTEST;
    // the rows are separated by one space
    let start = row * (len + 1);
    WORDS[column].get(start..start + len).unwrap_or_default()
}

/// The nickname of the firmware with a UUID, for example `session-nasty`.
pub(crate) fn nickname(uuid: Uuid) -> String {
    let [first, second, ..] = *uuid.as_bytes();
    format!("{}-{}", word(first), word(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = (0..=u8::MAX).map(word).collect();
        assert_eq!(words.len(), 256);
        for number in 0..=u8::MAX {
            let word = word(number);
            assert_eq!(word.len(), usize::from(number) % 5 + 3);
            assert!(word.bytes().all(|letter| letter.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn known_firmware_has_its_name() {
        let uuid = Uuid::from_u128(0xd18e << 112);
        assert_eq!(nickname(uuid), "session-nasty");
    }
}
