//! What Prometheus' parser refuses and promql-parser lets pass: arguments of the wrong type.

use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;

/// Checks the types of every call's arguments.
pub(crate) fn check(expr: &Expr) -> Result<(), String> {
    match expr {
        Expr::Call(call) => {
            for (position, argument) in call.args.args.iter().enumerate() {
                check(argument)?;
                let expected = call.func.arg_types.get(position).or(call.func.arg_types.last());
                if let Some(expected) = expected {
                    let found = argument.value_type();
                    if found != *expected {
                        return Err(format!(
                            "expected type {} in call to function {:?}, got {}",
                            name(*expected),
                            call.func.name,
                            name(found)
                        ));
                    }
                }
            }
            Ok(())
        }
        Expr::Aggregate(aggregate) => {
            if let Some(parameter) = &aggregate.param {
                check(parameter)?;
            }
            expect(&aggregate.expr, ValueType::Vector, "aggregation expression")
        }
        Expr::Unary(unary) => {
            check(&unary.expr)?;
            match unary.expr.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                found => Err(format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                    name(found)
                )),
            }
        }
        Expr::Binary(binary) => {
            check(&binary.lhs)?;
            check(&binary.rhs)?;
            for side in [&binary.lhs, &binary.rhs] {
                if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
                    return Err(
                        "binary expression must contain only scalar and instant vector types".to_owned()
                    );
                }
            }
            Ok(())
        }
        Expr::Paren(paren) => check(&paren.expr),
        Expr::Subquery(subquery) => expect(&subquery.expr, ValueType::Vector, "subquery"),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Ok(()),
    }
}

fn expect(expr: &Expr, expected: ValueType, place: &str) -> Result<(), String> {
    check(expr)?;
    let found = expr.value_type();
    if found == expected {
        return Ok(());
    }
    Err(format!("expected type {} in {place}, got {}", name(expected), name(found)))
}

fn name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Vector => "instant vector",
        ValueType::Scalar => "scalar",
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    }
}
