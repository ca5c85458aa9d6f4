//! The item under the derive, checked, and what bounds its fields ask for.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericParam, Generics, Result, Type, Visibility,
    WherePredicate, parse_quote,
};

/// A struct or enum that can become a message.
pub(crate) struct Item {
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    /// The name of the archive, `ArchivedStep`.
    pub(crate) archived: Ident,
    /// Without defaults, with `Self` written out.
    pub(crate) generics: Generics,
    /// Without attributes and discriminants, with `Self` written out.
    pub(crate) data: Data,
}

/// How a field's type relates to the type parameters, which decides what the generated impls ask for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Dependence {
    /// On no type parameter: the compiler can check the field without a bound. A bound would never end for types that contain
    /// each other.
    None,
    /// On a type parameter: the impls need a bound on the field's type.
    Parameter,
    /// On a type parameter and on the item itself: the bounds have to be on the parameters.
    ParameterAndItem,
}

impl Item {
    pub(crate) fn parse(input: DeriveInput) -> Result<Self> {
        if let Some(lifetime) = input.generics.lifetimes().next() {
            return Err(Error::new_spanned(
                lifetime,
                "a message owns what it holds: use `String`, `Vec` or `Box` instead of references",
            ));
        }
        match &input.data {
            Data::Union(union) => {
                return Err(Error::new_spanned(
                    union.union_token,
                    "a union cannot be a message, because a receiver cannot check which field is valid: use an enum",
                ));
            }
            Data::Enum(data) if data.variants.is_empty() => {
                return Err(Error::new_spanned(
                    &input.ident,
                    "an enum without variants has no value to send",
                ));
            }
            Data::Enum(_) | Data::Struct(_) => {}
        }
        let archived = format_ident!("Archived{}", input.ident.unraw(), span = input.ident.span());
        let mut item = Self {
            visibility: input.vis,
            name: input.ident,
            archived,
            generics: input.generics,
            data: input.data,
        };
        item.normalise()?;
        Ok(item)
    }

    /// Brings generics and fields into a form that can be repeated on another type.
    fn normalise(&mut self) -> Result<()> {
        for parameter in &mut self.generics.params {
            match parameter {
                GenericParam::Type(parameter) => {
                    parameter.attrs.clear();
                    parameter.default = None;
                    parameter.eq_token = None;
                }
                GenericParam::Const(parameter) => {
                    parameter.attrs.clear();
                    parameter.default = None;
                    parameter.eq_token = None;
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        let this = self.this();
        if let Some(clause) = &mut self.generics.where_clause {
            *clause = syn::parse2(replace_self(clause.to_token_stream(), &this))?;
        }
        match &mut self.data {
            Data::Struct(data) => normalise_fields(&mut data.fields, &this)?,
            Data::Enum(data) => {
                for variant in &mut data.variants {
                    variant.attrs.clear();
                    variant.discriminant = None;
                    normalise_fields(&mut variant.fields, &this)?;
                }
            }
            Data::Union(_) => {}
        }
        Ok(())
    }

    /// The type with its parameters: `Step<T>`.
    pub(crate) fn this(&self) -> TokenStream {
        let name = &self.name;
        let (_, parameters, _) = self.generics.split_for_impl();
        quote!(#name #parameters)
    }

    pub(crate) fn fields(&self) -> Vec<&Field> {
        match &self.data {
            Data::Struct(data) => data.fields.iter().collect(),
            Data::Enum(data) => data
                .variants
                .iter()
                .flat_map(|variant| &variant.fields)
                .collect(),
            Data::Union(_) => Vec::new(),
        }
    }

    pub(crate) fn dependence(&self, field: &Type) -> Dependence {
        let field = field.to_token_stream();
        if !self
            .generics
            .type_params()
            .any(|parameter| mentions(&field, &parameter.ident))
        {
            Dependence::None
        } else if mentions(&field, &self.name) {
            Dependence::ParameterAndItem
        } else {
            Dependence::Parameter
        }
    }

    /// The where clause of the item, and `bound` for every type that needs it: the fields that depend on a type parameter, and
    /// the parameters themselves if a field also contains the item.
    pub(crate) fn bounded(
        &self,
        bound: impl Fn(TokenStream) -> WherePredicate,
    ) -> Vec<WherePredicate> {
        let clause = self
            .generics
            .where_clause
            .iter()
            .flat_map(|clause| clause.predicates.iter().cloned());
        let fields = self
            .fields()
            .into_iter()
            .map(|field| &field.ty)
            .filter(|field| self.dependence(field) == Dependence::Parameter)
            .map(|field| bound(field.to_token_stream()));
        clause
            .chain(fields)
            .chain(self.parameters_bounded(&bound))
            .collect()
    }

    /// `bound` for every type parameter, if a field depends on one and contains the item.
    pub(crate) fn parameters_bounded(
        &self,
        bound: impl Fn(TokenStream) -> WherePredicate,
    ) -> Vec<WherePredicate> {
        let recursive = |field: &&Field| self.dependence(&field.ty) == Dependence::ParameterAndItem;
        if !self.fields().iter().any(recursive) {
            return Vec::new();
        }
        self.generics
            .type_params()
            .map(|parameter| bound(parameter.ident.to_token_stream()))
            .collect()
    }

    /// The generics with one more type parameter in front.
    pub(crate) fn generics_with(&self, parameter: GenericParam) -> Generics {
        let mut generics = self.generics.clone();
        generics.params.insert(0, parameter);
        generics
    }
}

/// `T: Trait` as a predicate.
pub(crate) fn predicate(subject: &TokenStream, bound: &TokenStream) -> WherePredicate {
    parse_quote!(#subject: #bound)
}

/// Path of what generated code uses.
pub(crate) fn private() -> TokenStream {
    quote!(::phalanx::__private)
}

fn normalise_fields(fields: &mut Fields, this: &TokenStream) -> Result<()> {
    for field in fields {
        field.attrs.clear();
        field.ty = syn::parse2(replace_self(field.ty.to_token_stream(), this))?;
    }
    Ok(())
}

fn mentions(tokens: &TokenStream, name: &Ident) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// Writes `Self` out: the same tokens are used on the mirror type, where it would mean another type.
fn replace_self(tokens: TokenStream, this: &TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ident) if ident == "Self" => this.clone(),
            TokenTree::Group(group) => {
                let mut replaced =
                    Group::new(group.delimiter(), replace_self(group.stream(), this));
                replaced.set_span(group.span());
                TokenTree::Group(replaced).into()
            }
            other => other.into(),
        })
        .collect()
}
