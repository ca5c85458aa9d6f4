//! The layout hash of the item, and its use in non-blocking sends.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, Fields};

use crate::archive::archive_bound;
use crate::item::{Item, predicate, private};

/// `Schema` and `SendBuffer`; `Message` follows from `Schema` and rkyv's traits.
pub(crate) fn implementation(item: &Item) -> TokenStream {
    let private = private();
    let this = item.this();
    let (generics, parameters, clause) = item.generics.split_for_impl();
    let archive = item.bounded(|subject| archive_bound(&subject));
    let schema = item.bounded(|subject| predicate(&subject, &quote!(#private::Schema)));
    let own_clause = clause
        .map(|clause| &clause.predicates)
        .into_iter()
        .flatten();
    let archived = &item.archived;
    let outline = outline(item);
    let levels = (1..=DEPTH).map(|level| {
        let this_level = format_ident!("D{level}");
        let below = format_ident!("D{}", level - 1);
        let fields = item.fields().into_iter().map(|field| &field.ty);
        quote! {
            const #this_level: u64 = #private::join(Self::D0, &[#(<#fields as #private::Schema>::#below),*]);
        }
    });
    quote! {
        #[automatically_derived]
        impl #generics #private::Schema for #this
        where
            #(#archive,)*
            #(#schema,)*
        {
            const D0: u64 = #private::join(
                #private::text(#outline),
                &[
                    ::core::mem::size_of::<#archived #parameters>() as u64,
                    ::core::mem::align_of::<#archived #parameters>() as u64,
                ],
            );
            #(#levels)*
        }

        #[automatically_derived]
        impl #generics #private::SendBuffer for #this
        where
            Self: #private::Message + ::core::marker::Send + 'static,
            #(#own_clause,)*
        {
            type Message = Self;

            #[inline]
            fn message(&self) -> &Self {
                self
            }
        }
    }
}

/// The item without types: `struct Step { id, cells }`, `enum Shape { Circle(1), Line { from, to }, None }`.
fn outline(item: &Item) -> String {
    let name = item.name.unraw();
    match &item.data {
        Data::Struct(data) => format!("struct {name}{}", outline_fields(&data.fields)),
        Data::Enum(data) => {
            let variants: Vec<_> = data
                .variants
                .iter()
                .map(|variant| {
                    format!(
                        "{}{}",
                        variant.ident.unraw(),
                        outline_fields(&variant.fields)
                    )
                })
                .collect();
            format!("enum {name} {{ {} }}", variants.join(", "))
        }
        Data::Union(_) => String::new(),
    }
}

fn outline_fields(fields: &Fields) -> String {
    match fields {
        Fields::Named(named) => {
            let names: Vec<_> = named
                .named
                .iter()
                .flat_map(|field| &field.ident)
                .map(|ident| ident.unraw().to_string())
                .collect();
            format!(" {{ {} }}", names.join(", "))
        }
        Fields::Unnamed(unnamed) => format!("({})", unnamed.unnamed.len()),
        Fields::Unit => String::new(),
    }
}

/// The deepest level of `Schema`.
const DEPTH: usize = 7;
