//! Pipelines, commands and operands.

use golang::strconv::quote;

use super::{Executed, Slot, Spot, State};
use crate::function::Param;
use crate::node::{Command, Expr, ExprKind, Number, Pipe, shared};
use crate::template::MissingKey;
use crate::value::{Type, Value};

impl<'a> State<'a> {
    /// Evaluates a pipeline and sets or declares its variables; the result is never boxed.
    pub(super) fn pipeline(&mut self, dot: &Slot, pipe: &'a Pipe) -> Executed<Slot> {
        self.deeper()?;
        self.spot = Spot::Pipe(pipe);
        let mut slot = None;
        for command in &pipe.commands {
            // The value before is this one's last argument.
            let mut result = self.command(dot, command, slot.take())?;
            result.boxed = false;
            slot = Some(result);
        }
        let slot = slot.unwrap_or(Slot::plain(Value::Nil));
        for name in &pipe.variables {
            if pipe.is_assign {
                self.set_variable(name, slot.clone())?;
            } else {
                self.variables.push((name, slot.clone()));
            }
        }
        self.depth -= 1;
        Ok(slot)
    }

    fn command(&mut self, dot: &Slot, command: &'a Command, last: Option<Slot>) -> Executed<Slot> {
        self.run.charge(1)?;
        let word = &command.args[0];
        match &word.kind {
            ExprKind::Field(names) => {
                self.spot = Spot::Expr(word);
                return self.field_chain(dot, dot.clone(), names, (word, &command.args), last);
            }
            ExprKind::Chain(..) => return self.chain(dot, word, &command.args, last),
            ExprKind::Identifier(name) => {
                self.spot = Spot::Expr(word);
                return self.function(dot, name, Spot::Command(command), &command.args[1..], last);
            }
            ExprKind::Pipe(pipe) => {
                self.not_a_function(&command.args, last.as_ref())?;
                return self.pipeline(dot, pipe);
            }
            ExprKind::Variable(_) => return self.variable(dot, word, &command.args, last),
            _ => {}
        }
        self.spot = Spot::Expr(word);
        self.not_a_function(&command.args, last.as_ref())?;
        match &word.kind {
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Nil => self.fail("nil is not a command"),
            _ => self.constant(word),
        }
    }

    fn not_a_function(&self, args: &[Expr], last: Option<&Slot>) -> Executed<()> {
        if args.len() > 1 || last.is_some() {
            return self.fail(format!("can't give argument to non-function {}", args[0]));
        }
        Ok(())
    }

    /// Returns a constant's value where no type is asked for.
    fn constant(&mut self, expr: &'a Expr) -> Executed<Slot> {
        self.spot = Spot::Expr(expr);
        let value = match &expr.kind {
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::String { text, .. } => Value::String(shared(text)),
            ExprKind::Number(number) => match ideal(number) {
                Some(value) => value,
                None => return self.fail(format!("{} overflows int", number.text)),
            },
            _ => return self.fail(format!("can't evaluate command {}", quote_expr(expr))),
        };
        Ok(Slot::plain(value))
    }

    fn chain(
        &mut self,
        dot: &Slot,
        expr: &'a Expr,
        args: &'a [Expr],
        last: Option<Slot>,
    ) -> Executed<Slot> {
        self.spot = Spot::Expr(expr);
        let ExprKind::Chain(node, names) = &expr.kind else {
            return self.fail("not a chain of fields");
        };
        let receiver = match &node.kind {
            ExprKind::Pipe(pipe) => {
                self.spot = Spot::Expr(node);
                self.pipeline(dot, pipe)?
            }
            ExprKind::Identifier(name) => {
                self.spot = Spot::Expr(node);
                self.function(dot, name, Spot::Expr(node), &[], None)?
            }
            ExprKind::Nil => {
                return self.fail(format!("indirection through explicit nil in {expr}"));
            }
            _ => self.operand(dot, node)?,
        };
        self.field_chain(dot, receiver, names, (expr, args), last)
    }

    fn variable(
        &mut self,
        dot: &Slot,
        expr: &'a Expr,
        args: &'a [Expr],
        last: Option<Slot>,
    ) -> Executed<Slot> {
        self.spot = Spot::Expr(expr);
        let ExprKind::Variable(names) = &expr.kind else {
            return self.fail("not a variable");
        };
        let found = self.variables.iter().rev().find(|(name, _)| *name == names[0]);
        let Some((_, slot)) = found else {
            return self.fail(format!("undefined variable: {}", names[0]));
        };
        let slot = slot.clone();
        if names.len() == 1 {
            if args.len() > 1 || last.is_some() {
                return self.fail(format!("can't give argument to non-function {expr}"));
            }
            return Ok(slot);
        }
        self.field_chain(dot, slot, &names[1..], (expr, args), last)
    }

    /// Follows names from a receiver; the last of them may be a method that takes the arguments.
    fn field_chain(
        &mut self,
        dot: &Slot,
        mut receiver: Slot,
        names: &'a [String],
        (expr, args): (&'a Expr, &'a [Expr]),
        last: Option<Slot>,
    ) -> Executed<Slot> {
        let Some((final_name, names)) = names.split_last() else { return Ok(receiver) };
        for name in names {
            receiver = self.field(dot, receiver, name, (expr, &[]), None)?;
        }
        let args = args.get(1..).unwrap_or_default();
        self.field(dot, receiver, final_name, (expr, args), last)
    }

    fn field(
        &mut self,
        dot: &Slot,
        receiver: Slot,
        name: &'a str,
        (expr, args): (&'a Expr, &'a [Expr]),
        last: Option<Slot>,
    ) -> Executed<Slot> {
        self.run.charge(1)?;
        if receiver.is_invalid() {
            if self.context.missing_key == MissingKey::Error {
                let key = quote(name.as_bytes());
                return self.fail(format!("nil data; no entry for key {key}"));
            }
            return Ok(receiver);
        }
        let has_args = !args.is_empty() || last.is_some();
        match &receiver.value {
            Value::Nil => {
                return self.fail(format!("nil pointer evaluating interface {{}}.{name}"));
            }
            Value::Object(_) => {
                if let Some(method) = find_method(&receiver.value, name) {
                    return self.method(dot, &method, name, expr, args, last);
                }
                if let Some(value) = find_field(&receiver.value, name) {
                    if has_args {
                        return self.fail(format!(
                            "{name} has arguments but cannot be invoked as function"
                        ));
                    }
                    let boxed = matches!(value, Value::Nil);
                    return Ok(Slot { value, boxed });
                }
            }
            Value::Map(map) if map.map_type().key == Type::String => {
                if has_args {
                    return self.fail(format!("{name} is not a method but has arguments"));
                }
                let element = &map.map_type().element;
                if let Some(value) = map.get(name.as_bytes()) {
                    return Ok(Slot::of(value, element));
                }
                return match self.context.missing_key {
                    MissingKey::NoValue => Ok(Slot::plain(Value::Nil)),
                    MissingKey::Zero => Ok(Slot::of(element.zero(), element)),
                    MissingKey::Error => {
                        let key = quote(name.as_bytes());
                        self.fail(format!("map has no entry for key {key}"))
                    }
                };
            }
            _ => {}
        }
        self.fail(format!("can't evaluate field {name} in type {}", receiver.type_name()))
    }

    /// Evaluates an argument for a parameter.
    pub(super) fn arg(&mut self, dot: &Slot, param: Param, expr: &'a Expr) -> Executed<Slot> {
        self.run.charge(1)?;
        self.spot = Spot::Expr(expr);
        match &expr.kind {
            ExprKind::Nil if param.can_be_nil() => Ok(Slot::plain(param.zero())),
            ExprKind::Nil => self.fail(format!("cannot assign nil to {param}")),
            ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::String { .. } => {
                self.typed_constant(param, expr)
            }
            _ => {
                let slot = self.operand(dot, expr)?;
                self.checked(slot, param)
            }
        }
    }

    /// Evaluates what is no constant.
    fn operand(&mut self, dot: &Slot, expr: &'a Expr) -> Executed<Slot> {
        match &expr.kind {
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Field(names) => {
                self.spot = Spot::Expr(expr);
                self.field_chain(dot, dot.clone(), names, (expr, &[]), None)
            }
            ExprKind::Variable(_) => self.variable(dot, expr, &[], None),
            ExprKind::Pipe(pipe) => self.pipeline(dot, pipe),
            ExprKind::Identifier(name) => {
                self.spot = Spot::Expr(expr);
                self.function(dot, name, Spot::Expr(expr), &[], None)
            }
            ExprKind::Chain(..) => self.chain(dot, expr, &[], None),
            _ => self.constant(expr),
        }
    }

    fn typed_constant(&mut self, param: Param, expr: &'a Expr) -> Executed<Slot> {
        let value = match (param, &expr.kind) {
            (Param::Any | Param::Reflect, _) => return self.constant(expr),
            (Param::Bool, ExprKind::Bool(value)) => Value::Bool(*value),
            (Param::String, ExprKind::String { text, .. }) => Value::String(shared(text)),
            (Param::Int, ExprKind::Number(Number { int: Some(int), .. })) => Value::Int(*int),
            // As in Go, what does not fit loses its upper bits.
            (Param::Uint32, ExprKind::Number(Number { uint: Some(uint), .. })) => {
                Value::Uint64(*uint & u64::from(u32::MAX))
            }
            (Param::Float, ExprKind::Number(Number { float: Some(float), .. })) => {
                Value::Float(*float)
            }
            (Param::Bool, _) => return self.fail(format!("expected bool; found {expr}")),
            (Param::String, _) => return self.fail(format!("expected string; found {expr}")),
            (Param::Int, _) => return self.fail(format!("expected integer; found {expr}")),
            (Param::Uint32, _) => {
                return self.fail(format!("expected unsigned integer; found {expr}"));
            }
            (Param::Float, _) => return self.fail(format!("expected float; found {expr}")),
            (Param::Dict | Param::Named(_), _) => {
                return self.fail(format!("can't handle {expr} for arg of type {param}"));
            }
        };
        Ok(Slot::plain(value))
    }

    /// Returns the slot if its value can be passed as the parameter.
    pub(super) fn checked(&mut self, slot: Slot, param: Param) -> Executed<Slot> {
        if slot.is_invalid() {
            if param.can_be_nil() {
                return Ok(Slot::plain(param.zero()));
            }
            return self.fail(format!("invalid value; expected {param}"));
        }
        if param.accepts(&slot.value) {
            return Ok(slot);
        }
        let found = match slot.value {
            Value::Nil => slot.type_name(),
            _ => slot.value.go_type().to_string(),
        };
        self.fail(format!("wrong type for value; expected {param}; got {found}"))
    }
}

fn quote_expr(expr: &Expr) -> String {
    quote(expr.to_string().as_bytes())
}

/// Returns a number's value by its syntax alone; `None` if it does not fit an `int`.
fn ideal(number: &Number) -> Option<Value> {
    if let Some((real, imaginary)) = number.complex {
        return Some(Value::Complex(real, imaginary));
    }
    let text = &number.text;
    let is_hex = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X"));
    let is_hex_int = is_hex && !text.contains(['p', 'P']);
    let looks_float = text.contains(['.', 'e', 'E', 'p', 'P']);
    match number.float {
        Some(float) if looks_float && !is_hex_int && !text.starts_with('\'') => {
            Some(Value::Float(float))
        }
        _ => number.int.map(Value::Int),
    }
}

/// Returns the field of that name, those of embedded structs included, the least embedded first.
fn find_field(value: &Value, name: &str) -> Option<Value> {
    let mut level = vec![value.clone()];
    while !level.is_empty() {
        let mut embedded = Vec::new();
        for value in &level {
            let Value::Object(object) = value else { continue };
            for field in object.fields() {
                if field.name == name {
                    return Some(field.value);
                }
                if field.embedded {
                    embedded.push(field.value);
                }
            }
        }
        level = embedded;
    }
    None
}

fn find_method(value: &Value, name: &str) -> Option<crate::value::Method> {
    let Value::Object(object) = value else { return None };
    object.method(name)
}
