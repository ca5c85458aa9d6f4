//! `Debug` of the archive. rkyv can derive it, but then asks for `T: Debug` where `T::Archived: Debug` is needed.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, Fields, Ident};

use crate::archive::archive_bound;
use crate::item::{Item, predicate, private};

pub(crate) fn implementation(item: &Item) -> TokenStream {
    let private = private();
    let archived = &item.archived;
    let (generics, parameters, _) = item.generics.split_for_impl();
    let archive = item.bounded(|subject| archive_bound(&subject));
    let debug = item.bounded(|subject| {
        predicate(
            &quote!(<#subject as #private::rkyv::Archive>::Archived),
            &quote!(::core::fmt::Debug),
        )
    });
    let arms = match &item.data {
        Data::Struct(data) => vec![arm(&quote!(#archived), archived, &data.fields)],
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let name = &variant.ident;
                arm(&quote!(#archived::#name), name, &variant.fields)
            })
            .collect(),
        Data::Union(_) => Vec::new(),
    };
    quote! {
        #[automatically_derived]
        impl #generics ::core::fmt::Debug for #archived #parameters
        where
            #(#archive,)*
            #(#debug,)*
        {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self { #(#arms)* }
            }
        }
    }
}

fn arm(path: &TokenStream, name: &Ident, fields: &Fields) -> TokenStream {
    let name = name.unraw().to_string();
    let members: Vec<_> = fields.members().collect();
    let bindings: Vec<_> = (0..members.len())
        .map(|at| format_ident!("_{at}"))
        .collect();
    let body = match fields {
        Fields::Named(named) => {
            let labels = named
                .named
                .iter()
                .flat_map(|field| &field.ident)
                .map(|ident| ident.unraw().to_string());
            quote!(f.debug_struct(#name)#(.field(#labels, #bindings))*.finish())
        }
        Fields::Unnamed(_) => quote!(f.debug_tuple(#name)#(.field(#bindings))*.finish()),
        Fields::Unit => quote!(f.write_str(#name)),
    };
    quote!(#path { #(#members: #bindings),* } => #body,)
}
