//! Type names for people.

/// `name` without module paths: `alloc::vec::Vec<a::b::C>` becomes `Vec<C>`.
pub(super) fn short(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut segment = 0;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ':' && characters.next_if_eq(&':').is_some() {
            short.truncate(segment);
        } else {
            short.push(character);
            if !character.is_alphanumeric() && character != '_' {
                segment = short.len();
            }
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn paths_vanish_at_every_depth() {
        assert_eq!(short("f64"), "f64");
        assert_eq!(short("[a::b::Cell; 3]"), "[Cell; 3]");
        assert_eq!(
            short("std::collections::hash::map::HashMap<alloc::string::String, (u8, a::B<c::D>)>"),
            "HashMap<String, (u8, B<D>)>"
        );
    }
}
