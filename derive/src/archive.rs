//! The archive: rkyv's own derives, pointed at a mirror of the item.
//!
//! A derive macro cannot add derives to its item. So it repeats the item as `__Mirror`, which rkyv treats as a stand-in for a
//! foreign type (`remote`), and forwards rkyv's three traits from the item to the mirror. What is in the archive, and all the
//! unsafe code about it, stays rkyv's.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, Field, Fields, GenericParam, WherePredicate, parse_quote};

use crate::item::{Dependence, Item, predicate, private};

/// The name of the archive, for the program.
pub(crate) fn alias(item: &Item) -> TokenStream {
    let private = private();
    let Item {
        visibility,
        archived,
        ..
    } = item;
    let this = item.this();
    let doc = format!(
        " What a receiver of a [`{}`] reads in place, under the same names.",
        item.name
    );
    // Bounds on an alias are not enforced, and the compiler warns of them.
    let mut generics = item.generics.clone();
    generics.where_clause = None;
    for parameter in generics.type_params_mut() {
        parameter.colon_token = None;
        parameter.bounds.clear();
    }
    quote! {
        #[doc = #doc]
        #[allow(dead_code)]
        #visibility type #archived #generics = <#this as #private::rkyv::Archive>::Archived;
    }
}

/// The mirror, rkyv's derives on it, and the item's impls that forward to it.
pub(crate) fn implementation(item: &Item) -> TokenStream {
    let mirror = mirror(item);
    let from_mirror = from_mirror(item);
    let archive = archive(item);
    let serialize = serialize(item);
    let deserialize = deserialize(item);
    quote! {
        #mirror
        #from_mirror
        #archive
        #serialize
        #deserialize
    }
}

fn mirror(item: &Item) -> TokenStream {
    let private = private();
    let rkyv_attribute = rkyv_attribute(item);
    let Item {
        visibility,
        generics,
        ..
    } = item;
    let clause = &generics.where_clause;
    let body = match &item.data {
        Data::Struct(data) => {
            let fields = mirror_fields(item, &data.fields);
            match &data.fields {
                Fields::Named(_) => quote!(struct __Mirror #generics #clause { #fields }),
                Fields::Unnamed(_) => quote!(struct __Mirror #generics (#fields) #clause;),
                Fields::Unit => quote!(struct __Mirror #generics #clause;),
            }
        }
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let name = &variant.ident;
                let fields = mirror_fields(item, &variant.fields);
                match &variant.fields {
                    Fields::Named(_) => quote!(#name { #fields }),
                    Fields::Unnamed(_) => quote!(#name(#fields)),
                    Fields::Unit => quote!(#name),
                }
            });
            quote!(enum __Mirror #generics #clause { #(#variants,)* })
        }
        Data::Union(_) => TokenStream::new(),
    };
    quote! {
        #[derive(#private::rkyv::Archive, #private::rkyv::Serialize, #private::rkyv::Deserialize)]
        #rkyv_attribute
        #visibility #body
    }
}

/// Bounds that rkyv's derives would otherwise get from the fields: they are left out wherever they could refer back to the item.
fn rkyv_attribute(item: &Item) -> TokenStream {
    let private = private();
    let rkyv = quote!(#private::rkyv);
    let this = item.this();
    let archived = &item.archived;
    let archive = item.parameters_bounded(|subject| archive_bound(&subject));
    let serialize = item.parameters_bounded(|subject| serialize_bound(&subject));
    let deserialize = item.parameters_bounded(|subject| deserialize_bound(&subject));
    let check = item.parameters_bounded(|subject| {
        parse_quote!(<#subject as #rkyv::Archive>::Archived: #rkyv::bytecheck::CheckBytes<__C>)
    });
    quote! {
        #[rkyv(
            crate = #rkyv,
            remote = #this,
            archived = #archived,
            resolver = __Resolver,
            archive_bounds(#(#archive),*),
            serialize_bounds(
                __S: #rkyv::ser::Writer + #rkyv::ser::Allocator,
                <__S as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source,
                #(#serialize),*
            ),
            deserialize_bounds(
                <__D as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source,
                #(#deserialize),*
            ),
            bytecheck(bounds(
                __C: #rkyv::validation::ArchiveContext,
                <__C as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source,
                #(#check),*
            ))
        )]
    }
}

fn mirror_fields(item: &Item, fields: &Fields) -> TokenStream {
    let fields = fields.iter().map(
        |Field {
             vis,
             ident,
             colon_token,
             ty,
             ..
         }| {
            let attribute = (item.dependence(ty) != Dependence::Parameter)
                .then(|| quote!(#[rkyv(omit_bounds)]));
            quote!(#attribute #vis #ident #colon_token #ty)
        },
    );
    quote!(#(#fields),*)
}

/// `From<__Mirror>`, which rkyv uses to build the item when it deserializes.
fn from_mirror(item: &Item) -> TokenStream {
    let this = item.this();
    let name = &item.name;
    let (generics, parameters, clause) = item.generics.split_for_impl();
    let arms = match &item.data {
        Data::Struct(data) => vec![move_arm(&quote!(__Mirror), &quote!(#name), &data.fields)],
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let variant_name = &variant.ident;
                move_arm(
                    &quote!(__Mirror::#variant_name),
                    &quote!(#name::#variant_name),
                    &variant.fields,
                )
            })
            .collect(),
        Data::Union(_) => Vec::new(),
    };
    quote! {
        #[automatically_derived]
        impl #generics ::core::convert::From<__Mirror #parameters> for #this #clause {
            fn from(mirror: __Mirror #parameters) -> Self {
                match mirror { #(#arms)* }
            }
        }
    }
}

/// `__Mirror { id: _0, .. } => Step { id: _0, .. },` for any kind of fields, as braces with numbers do for tuples and units.
fn move_arm(from: &TokenStream, to: &TokenStream, fields: &Fields) -> TokenStream {
    let members: Vec<_> = fields.members().collect();
    let bindings: Vec<_> = (0..members.len())
        .map(|at| format_ident!("_{at}"))
        .collect();
    quote! {
        #from { #(#members: #bindings),* } => #to { #(#members: #bindings),* },
    }
}

fn archive(item: &Item) -> TokenStream {
    let private = private();
    let rkyv = quote!(#private::rkyv);
    let this = item.this();
    let archived = &item.archived;
    let bounds = item.bounded(|subject| archive_bound(&subject));
    let (generics, parameters, _) = item.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #generics #rkyv::Archive for #this where #(#bounds),* {
            type Archived = #archived #parameters;
            type Resolver = __Resolver #parameters;

            #[inline]
            fn resolve(&self, resolver: Self::Resolver, out: #rkyv::Place<Self::Archived>) {
                <__Mirror #parameters as #rkyv::with::ArchiveWith<#this>>::resolve_with(self, resolver, out);
            }
        }
    }
}

fn serialize(item: &Item) -> TokenStream {
    let private = private();
    let rkyv = quote!(#private::rkyv);
    let this = item.this();
    let (_, parameters, _) = item.generics.split_for_impl();
    let bounds = item.bounded(|subject| archive_bound(&subject));
    let generics = item.generics_with(fallible("__S", &rkyv));
    let (generics, _, _) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #generics #rkyv::Serialize<__S> for #this
        where
            __Mirror #parameters: #rkyv::with::SerializeWith<#this, __S, Resolver = __Resolver #parameters>,
            #(#bounds),*
        {
            #[inline]
            fn serialize(
                &self,
                serializer: &mut __S,
            ) -> ::core::result::Result<Self::Resolver, <__S as #rkyv::rancor::Fallible>::Error> {
                <__Mirror #parameters as #rkyv::with::SerializeWith<#this, __S>>::serialize_with(self, serializer)
            }
        }
    }
}

fn deserialize(item: &Item) -> TokenStream {
    let private = private();
    let rkyv = quote!(#private::rkyv);
    let this = item.this();
    let archived = &item.archived;
    let (_, parameters, _) = item.generics.split_for_impl();
    let bounds = item.bounded(|subject| archive_bound(&subject));
    let generics = item.generics_with(fallible("__D", &rkyv));
    let (generics, _, _) = generics.split_for_impl();
    let with = quote!(#rkyv::with::DeserializeWith<#archived #parameters, #this, __D>);
    quote! {
        #[automatically_derived]
        impl #generics #rkyv::Deserialize<#this, __D> for #archived #parameters
        where
            __Mirror #parameters: #with,
            #(#bounds),*
        {
            #[inline]
            fn deserialize(
                &self,
                deserializer: &mut __D,
            ) -> ::core::result::Result<#this, <__D as #rkyv::rancor::Fallible>::Error> {
                <__Mirror #parameters as #with>::deserialize_with(self, deserializer)
            }
        }
    }
}

fn fallible(name: &str, rkyv: &TokenStream) -> GenericParam {
    let name = format_ident!("{name}");
    parse_quote!(#name: #rkyv::rancor::Fallible + ?::core::marker::Sized)
}

pub(crate) fn archive_bound(subject: &TokenStream) -> WherePredicate {
    let private = private();
    predicate(subject, &quote!(#private::rkyv::Archive))
}

fn serialize_bound(subject: &TokenStream) -> WherePredicate {
    let private = private();
    predicate(subject, &quote!(#private::rkyv::Serialize<__S>))
}

fn deserialize_bound(subject: &TokenStream) -> WherePredicate {
    let private = private();
    let archived = quote!(<#subject as #private::rkyv::Archive>::Archived);
    predicate(
        &archived,
        &quote!(#private::rkyv::Deserialize<#subject, __D>),
    )
}
