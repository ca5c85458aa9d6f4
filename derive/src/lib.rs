//! `#[derive(Message)]`: makes a struct or enum a message of Phalanx.
//!
//! The crate `phalanx` re-exports the macro; programs do not depend on this crate, nor on rkyv.

#![forbid(unsafe_code)]

mod archive;
mod debug;
mod item;
mod schema;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Result;

use item::Item;

/// Makes a struct or enum a message.
///
/// A type `Step` gets
/// - `ArchivedStep`, with the same visibility, fields and variants: what a receiver reads in place;
/// - the traits `Message` and `SendBuffer`, so that it can be sent, received, and moved into a non-blocking send;
/// - a place inside other messages.
///
/// `ArchivedStep` is an alias: its fields and variants are used by name, `impl` blocks of traits may name it, but not an `impl`
/// block of its own.
///
/// Every field has to be a message itself. Type parameters and const parameters are supported, also types that contain
/// themselves; lifetimes are not, because a received value borrows from nothing.
///
/// # Examples
///
/// ```
/// use phalanx::Message;
///
/// #[derive(Message)]
/// struct Step {
///     id: u64,
///     cells: Vec<f32>,
///     next: Option<Box<Step>>,
/// }
///
/// fn last(step: &ArchivedStep) -> u64 {
///     step.next.as_ref().map_or(step.id.to_native(), |next| last(next))
/// }
///
/// assert_eq!(Step::type_name(), "Step");
/// ```
#[proc_macro_derive(Message)]
pub fn derive_message(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(input.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Everything that the macro adds beside the item. A block of its own keeps all but the archive's name out of the program's
/// namespace; the archive is defined in it too and gets its name outside by an alias.
fn expand(input: TokenStream) -> Result<TokenStream> {
    let item = Item::parse(syn::parse2(input)?)?;
    let alias = archive::alias(&item);
    let archive = archive::implementation(&item);
    let debug = debug::implementation(&item);
    let schema = schema::implementation(&item);
    Ok(quote! {
        #alias

        #[doc(hidden)]
        #[allow(
            dead_code,
            missing_docs,
            non_camel_case_types,
            unnameable_types,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::nursery,
            clippy::pedantic,
            clippy::restriction
        )]
        const _: () = {
            #archive
            #debug
            #schema
        };
    })
}
