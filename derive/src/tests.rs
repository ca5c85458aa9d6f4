//! What the derive refuses, and where it points.

use quote::quote;

use crate::expand;

/// The message of the error, and the source text that it points at.
fn refusal(source: &str) -> (String, String) {
    let input = source.parse().unwrap();
    let error = expand(input).unwrap_err();
    let span = error.span();
    let (start, end) = (span.start(), span.end());
    assert_eq!((start.line, end.line), (1, 1), "the span is in the source");
    let text = source
        .chars()
        .skip(start.column)
        .take(end.column - start.column)
        .collect();
    (error.to_string(), text)
}

#[test]
fn a_union_is_refused_at_its_keyword() {
    let (message, at) = refusal("union Bits { whole: u32, parts: [u8; 4] }");
    assert!(message.contains("use an enum"), "{message}");
    assert_eq!(at, "union");
}

#[test]
fn a_lifetime_is_refused_where_it_is_declared() {
    let (message, at) = refusal("struct Text<'a, T> { text: &'a str, rest: T }");
    assert!(message.contains("use `String`"), "{message}");
    assert_eq!(at, "'a");
}

#[test]
fn an_enum_without_variants_is_refused_at_its_name() {
    let (message, at) = refusal("enum Never {}");
    assert!(message.contains("no value to send"), "{message}");
    assert_eq!(at, "Never");
}

#[test]
fn a_field_that_is_no_message_is_named_by_the_compiler() {
    // The generated impls repeat the field's type with its own span, so that the compiler points there.
    let expanded = expand(quote!(
        struct Holder {
            file: std::fs::File,
        }
    ))
    .unwrap()
    .to_string();
    assert!(expanded.contains("std :: fs :: File as :: phalanx :: __private :: Schema"));
}
