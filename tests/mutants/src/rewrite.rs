//! Puts the mutants of one file into its source, each behind `crate::mutant::on(id)`.

use std::collections::HashMap;

use proc_macro2::{LineColumn, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, BinOp, Block, Expr, ExprBinary, ExprStruct, ExprUnary, UnOp, parse_quote};

use crate::Result;
use crate::list::{At, Genre, Mutant};

/// The module that the changed crate gets: which mutant is on, told by the environment.
pub const SWITCH: &str = "
use std::sync::LazyLock;

static ON: LazyLock<u32> =
    LazyLock::new(|| std::env::var(\"KRAFT_MUTANT\").ok().and_then(|id| id.parse().ok()).unwrap_or(0));

#[inline]
pub fn on(id: u32) -> bool {
    *ON == id
}
";

/// The source with its mutants in it.
pub fn file(source: &str, mutants: &[&Mutant]) -> Result<String> {
    let mut tree = syn::parse_file(source)?;
    let mut sites: HashMap<(Genre, At), Vec<&Mutant>> = HashMap::new();
    for mutant in mutants {
        sites.entry((mutant.genre, mutant.at)).or_default().push(mutant);
    }
    Rewriter { sites }.visit_file_mut(&mut tree);
    Ok(prettyplease::unparse(&tree))
}

struct Rewriter<'a> {
    sites: HashMap<(Genre, At), Vec<&'a Mutant>>,
}

impl<'a> Rewriter<'a> {
    fn at(&self, genre: Genre, start: LineColumn) -> Vec<&'a Mutant> {
        let at = At { line: start.line, column: start.column + 1 };
        self.sites.get(&(genre, at)).cloned().unwrap_or_default()
    }

    /// Mutants that return at once, from a body that began there.
    fn body(&self, block: &mut Block, start: Option<LineColumn>) {
        let Some(start) = start else { return };
        for mutant in self.at(Genre::FnValue, start) {
            let on = on(mutant);
            let Ok(value) = syn::parse_str::<Expr>(&mutant.replacement) else { continue };
            block.stmts.insert(0, parse_quote! { if #on { return #value; } });
        }
    }

    fn binary(&self, expr: &ExprBinary, found: &[&Mutant]) -> Expr {
        let ExprBinary { left, op, right, .. } = expr;
        match (op, found) {
            // Each side once, so that chains do not double with every link.
            (BinOp::And(_), [one]) if one.replacement == "||" => {
                let on = on(one);
                parse_quote! { ({ let left: bool = #left; if left == #on { left } else { #right } }) }
            }
            (BinOp::Or(_), [one]) if one.replacement == "&&" => {
                let on = on(one);
                parse_quote! { ({ let left: bool = #left; if left != #on { left } else { #right } }) }
            }
            _ => {
                let mut otherwise = quote! { { (#left) #op (#right) } };
                for mutant in found {
                    let on = on(mutant);
                    let Ok(other) = mutant.replacement.parse::<TokenStream>() else { continue };
                    otherwise = quote! { { if #on { (#left) #other (#right) } else #otherwise } };
                }
                parse_quote! { (#otherwise) }
            }
        }
    }

    fn guard(&self, arm: &mut Arm, start: LineColumn) {
        for mutant in self.at(Genre::MatchArmGuard, start) {
            let on = on(mutant);
            let Some((_, guard)) = &mut arm.guard else { return };
            **guard = match mutant.replacement.as_str() {
                "true" => parse_quote! { (#on || (#guard)) },
                _ => parse_quote! { (!#on && (#guard)) },
            };
        }
    }

    fn fields(&self, expr: &ExprStruct) -> Option<Expr> {
        let gone: Vec<_> = expr
            .fields
            .iter()
            .enumerate()
            .flat_map(|(index, field)| {
                let found = self.at(Genre::StructField, field.span().start());
                found.into_iter().map(move |mutant| (index, mutant))
            })
            .collect();
        if gone.is_empty() {
            return None;
        }
        let mut otherwise = quote! { { #expr } };
        for (index, mutant) in gone {
            let on = on(mutant);
            let mut without = expr.clone();
            let others = expr.fields.iter().enumerate().filter(|(nth, _)| *nth != index);
            without.fields = others.map(|(_, field)| field.clone()).collect();
            if !without.fields.is_empty() {
                without.fields.push_punct(Default::default());
            }
            otherwise = quote! { { if #on { #without } else #otherwise } };
        }
        Some(parse_quote! { (#otherwise) })
    }
}

impl VisitMut for Rewriter<'_> {
    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        let start = first(&item.block);
        visit_mut::visit_item_fn_mut(self, item);
        self.body(&mut item.block, start);
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        let start = first(&item.block);
        visit_mut::visit_impl_item_fn_mut(self, item);
        self.body(&mut item.block, start);
    }

    fn visit_trait_item_fn_mut(&mut self, item: &mut syn::TraitItemFn) {
        let start = item.default.as_ref().and_then(first);
        visit_mut::visit_trait_item_fn_mut(self, item);
        if let Some(block) = &mut item.default {
            self.body(block, start);
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let start = arm.span().start();
        let guard = arm.guard.as_ref().map(|(_, guard)| guard.span().start());
        visit_mut::visit_arm_mut(self, arm);
        if let Some(guard) = guard {
            self.guard(arm, guard);
        }
        for mutant in self.at(Genre::MatchArm, start) {
            let on = on(mutant);
            arm.guard = Some(match arm.guard.take() {
                Some((when, guard)) => (when, parse_quote! { (!#on && (#guard)) }),
                None => (Default::default(), parse_quote! { !#on }),
            });
        }
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let replaced = match expr {
            Expr::Struct(fields) => self.fields(fields),
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expr = replaced;
            return;
        }
        visit_mut::visit_expr_mut(self, expr);
        let replaced = match expr {
            Expr::Binary(binary) if !binds(binary) => {
                let found = self.at(Genre::BinaryOperator, binary.op.span().start());
                (!found.is_empty()).then(|| self.binary(binary, &found))
            }
            Expr::Unary(ExprUnary {
                op: op @ (UnOp::Not(_) | UnOp::Neg(_)), expr: inner, ..
            }) => {
                let found = self.at(Genre::UnaryOperator, op.span().start());
                found.first().map(|mutant| {
                    let on = on(mutant);
                    parse_quote! { (if #on { #inner } else { #op (#inner) }) }
                })
            }
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expr = replaced;
        }
    }
}

/// Whether it is a chain with a `let` in it, which can stand nowhere but in an `if`.
fn binds(binary: &ExprBinary) -> bool {
    [&binary.left, &binary.right].into_iter().any(|side| match &**side {
        Expr::Let(_) => true,
        Expr::Binary(inner) => binds(inner),
        _ => false,
    })
}

fn first(block: &Block) -> Option<LineColumn> {
    block.stmts.first().map(|stmt| stmt.span().start())
}

fn on(mutant: &Mutant) -> TokenStream {
    let id = proc_macro2::Literal::u32_unsuffixed(mutant.id).into_token_stream();
    quote! { crate::mutant::on(#id) }
}
