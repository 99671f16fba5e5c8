//! Parses templates; error texts are Go's.

mod number;

use std::collections::BTreeMap;
use std::sync::Arc;

use golang::strconv::{quote, unquote};

use crate::function::{Functions, Known};
use crate::lex::{Kind, Lexer, Token};
use crate::node::{Block, Command, Expr, ExprKind, Node, Pipe, Tree, is_empty};

/// Nested blocks and parentheses of a template. Deeper nesting cannot be executed either.
const NESTING_MAX: usize = 200;
/// Bytes of a template's text: a custom resource cannot be larger.
const TEXT_MAX: usize = 3 * 1024 * 1024;

/// A template that cannot be parsed; prints as Go prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {reason}")]
pub struct ParseError {
    /// The name of the template.
    pub name: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// The definitions of a template by name.
pub(crate) type Trees = BTreeMap<String, Arc<Tree>>;

/// How an inner block ended.
enum End {
    End,
    /// `{{else}}`, perhaps followed by `if` or `with`, which is the next token.
    Else,
}

impl End {
    fn show(&self) -> &'static str {
        match self {
            End::End => "{{end}}",
            End::Else => "{{else}}",
        }
    }
}

enum Item {
    Node(Node),
    End(End),
}

/// Parses a text and adds its definitions and itself under `name` to `trees`.
pub(crate) fn parse(
    name: &str,
    text: &str,
    (left, right): (&str, &str),
    functions: &Functions,
    trees: &mut Trees,
) -> Result<(), ParseError> {
    let mut parser = Parser {
        name: Arc::from(name),
        text: Arc::from(text),
        lexer: Lexer::new(text, left, right),
        functions,
        trees,
        tokens: std::array::from_fn(|_| Token {
            kind: Kind::Eof,
            at: 0,
            text: String::new(),
            line: 1,
        }),
        n_peeked: 0,
        variables: vec!["$".into()],
        range_depth: 0,
        depth: 0,
        action_line: 0,
    };
    if text.len() > TEXT_MAX {
        return parser.fail(format!("the template has more than {TEXT_MAX} bytes"));
    }
    parser.template(name)
}

struct Parser<'a> {
    name: Arc<str>,
    text: Arc<str>,
    lexer: Lexer<'a>,
    functions: &'a Functions,
    trees: &'a mut Trees,
    /// Up to three tokens that were looked at; the last peeked is the next one.
    tokens: [Token; 3],
    n_peeked: usize,
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
    /// Where the current action began, 0 outside of one.
    action_line: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl Parser<'_> {
    // === Tokens ===

    fn next(&mut self) -> Token {
        if self.n_peeked > 0 {
            self.n_peeked -= 1;
        } else {
            self.tokens[0] = self.lexer.next_token();
        }
        self.tokens[self.n_peeked].clone()
    }

    fn backup(&mut self) {
        self.n_peeked += 1;
    }

    fn backup2(&mut self, first: Token) {
        self.tokens[1] = first;
        self.n_peeked = 2;
    }

    /// Pushes two tokens back; the first of the arguments comes out first.
    fn backup3(&mut self, first: Token, second: Token) {
        self.tokens[1] = second;
        self.tokens[2] = first;
        self.n_peeked = 3;
    }

    fn peek(&mut self) -> Kind {
        if self.n_peeked == 0 {
            self.n_peeked = 1;
            self.tokens[0] = self.lexer.next_token();
        }
        self.tokens[self.n_peeked - 1].kind
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        let (name, line) = (self.name.to_string(), self.tokens[0].line);
        Err(ParseError { name, line, reason: reason.into() })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind != Kind::Error {
            return self.fail(format!("unexpected {} in {context}", token.show()));
        }
        let mut extra = String::new();
        if self.action_line != 0 && self.action_line != token.line {
            let action = if token.text.ends_with(" action") { "" } else { " in action" };
            extra = format!("{action} started at {}:{}", self.name, self.action_line);
        }
        self.fail(format!("{}{extra}", token.text))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return self
                .fail(format!("blocks and parentheses nest more than {NESTING_MAX} levels deep"));
        }
        Ok(())
    }

    // === Blocks ===

    fn template(&mut self, name: &str) -> Parsed<()> {
        let mut root = Block::new();
        while self.peek() != Kind::Eof {
            if self.peek() == Kind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.backup2(delim);
            }
            match self.text_or_action()? {
                Item::End(end) => return self.fail(format!("unexpected {}", end.show())),
                Item::Node(node) => root.push(node),
            }
        }
        self.add(name, root)
    }

    fn add(&mut self, name: &str, root: Block) -> Parsed<()> {
        let exists = self.trees.get(name).is_some_and(|tree| !is_empty(&tree.root));
        if exists && !is_empty(&root) {
            let name = quote(name.as_bytes());
            return self.fail(format!("template: multiple definition of template {name}"));
        }
        if !exists {
            let (parse_name, text) = (self.name.clone(), self.text.clone());
            let tree = Tree { parse_name, text, root: Arc::new(root) };
            self.trees.insert(name.to_owned(), Arc::new(tree));
        }
        Ok(())
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let block = self.scope(CONTEXT)?;
        self.add(&name, block)
    }

    /// Parses a block of its own up to `{{end}}`, with no variables and outside of any range.
    fn scope(&mut self, context: &str) -> Parsed<Block> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let action_line = std::mem::take(&mut self.action_line);
        let (block, end) = self.item_list()?;
        if let End::Else = end {
            return self.fail(format!("unexpected {} in {context}", end.show()));
        }
        self.variables = variables;
        self.range_depth = range_depth;
        self.action_line = action_line;
        Ok(block)
    }

    fn item_list(&mut self) -> Parsed<(Block, End)> {
        self.deeper()?;
        let mut block = Block::new();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => block.push(node),
                Item::End(end) => {
                    self.depth -= 1;
                    return Ok((block, end));
                }
            }
        }
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(Arc::from(token.text)))),
            Kind::LeftDelim => {
                self.action_line = token.line;
                let item = self.action();
                self.action_line = 0;
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => self.jump("break", Node::Break)?,
            Kind::Continue => self.jump("continue", Node::Continue)?,
            Kind::Else => return self.or_else(),
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::End(End::End));
            }
            Kind::If => self.control("if")?,
            Kind::Range => self.control("range")?,
            Kind::With => self.control("with")?,
            Kind::Template => self.call_template()?,
            _ => {
                self.backup();
                let at = self.peek_non_space().at;
                // Variables that an action declares live until the enclosing block ends.
                Node::Action { at, pipe: self.pipeline("command", Kind::RightDelim)? }
            }
        };
        Ok(Item::Node(node))
    }

    fn jump(&mut self, word: &str, node: Node) -> Parsed<Node> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return self.unexpected(&token, &format!("{{{{{word}}}}}"));
        }
        if self.range_depth == 0 {
            return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn or_else(&mut self) -> Parsed<Item> {
        if !matches!(self.peek_non_space().kind, Kind::If | Kind::With) {
            self.expect(Kind::RightDelim, "else")?;
        }
        Ok(Item::End(End::Else))
    }

    fn control(&mut self, context: &'static str) -> Parsed<Node> {
        let n_variables = self.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let in_range = usize::from(context == "range");
        self.range_depth += in_range;
        let (list, end) = self.item_list()?;
        self.range_depth -= in_range;
        let or_else = match end {
            End::End => None,
            End::Else => Some(self.else_block(context)?),
        };
        self.variables.truncate(n_variables);
        Ok(match context {
            "if" => Node::If { pipe, list, or_else },
            "with" => Node::With { pipe, list, or_else },
            _ => Node::Range { pipe, list, or_else },
        })
    }

    fn else_block(&mut self, context: &'static str) -> Parsed<Block> {
        let chained = match context {
            "if" => self.peek() == Kind::If,
            "with" => self.peek() == Kind::With,
            _ => false,
        };
        if chained {
            self.next();
            self.deeper()?;
            let node = self.control(context)?;
            self.depth -= 1;
            return Ok(vec![node]);
        }
        let (block, end) = self.item_list()?;
        match end {
            End::End => Ok(block),
            End::Else => self.fail(format!("expected end; found {}", end.show())),
        }
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let block = self.scope(CONTEXT)?;
        self.add(&name, block)?;
        Ok(Node::Template { at: token.at, name, pipe: Some(pipe) })
    }

    fn call_template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(Node::Template { at: token.at, name, pipe })
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<String> {
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(token, context);
        }
        match unquote(token.text.as_bytes()) {
            Ok(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
            Err(error) => self.fail(error.to_string()),
        }
    }

    // === Expressions ===

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let at = self.peek_non_space().at;
        let mut pipe = Pipe { at, is_assign: false, variables: Vec::new(), commands: Vec::new() };
        while self.declaration(&mut pipe, context)? {}
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    /// Reads `$x :=`, `$x =` or `$x,`; returns whether another variable must follow.
    fn declaration(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<bool> {
        let variable = self.peek_non_space();
        if variable.kind != Kind::Variable {
            return Ok(false);
        }
        self.next();
        // The token right after the variable decides whether `$x` or `$x ` is pushed back.
        self.peek();
        let after = self.tokens[self.n_peeked - 1].clone();
        let next = self.peek_non_space();
        let is_comma = next.kind == Kind::Char && next.text == ",";
        if is_comma || matches!(next.kind, Kind::Assign | Kind::Declare) {
            self.next_non_space();
            pipe.variables.push(variable.text.clone());
            self.variables.push(variable.text);
            if !is_comma {
                pipe.is_assign = next.kind == Kind::Assign;
                return Ok(false);
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return self.fail(format!("too many declarations in {context}"));
            }
            return match self.peek_non_space().kind {
                Kind::Variable | Kind::RightDelim | Kind::RightParen => Ok(true),
                _ => self.fail("range can only initialize variables"),
            };
        }
        if after.kind == Kind::Space {
            self.backup3(variable, after);
        } else {
            self.backup2(variable);
        }
        Ok(false)
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.args[0].kind,
                ExprKind::Bool(_)
                    | ExprKind::Dot
                    | ExprKind::Nil
                    | ExprKind::Number(_)
                    | ExprKind::String { .. }
            ) {
                let stage = at + 1;
                return self.fail(format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let at = self.peek_non_space().at;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            args.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.backup();
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if args.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { at, args })
    }

    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(node) = self.term()? else { return Ok(None) };
        if self.peek() != Kind::Field {
            return Ok(Some(node));
        }
        let at = self.tokens[self.n_peeked - 1].at;
        let mut names = Vec::new();
        while self.peek() == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let kind = match node.kind {
            ExprKind::Field(mut fields) => {
                fields.append(&mut names);
                ExprKind::Field(fields)
            }
            ExprKind::Variable(mut fields) => {
                fields.append(&mut names);
                ExprKind::Variable(fields)
            }
            ExprKind::Bool(_)
            | ExprKind::String { .. }
            | ExprKind::Number(_)
            | ExprKind::Nil
            | ExprKind::Dot => {
                let term = quote(node.to_string().as_bytes());
                return self.fail(format!("unexpected . after term {term}"));
            }
            _ => ExprKind::Chain(Box::new(node), names),
        };
        Ok(Some(Expr { at, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Identifier => {
                self.check_function(&token.text)?;
                ExprKind::Identifier(token.text)
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    let name = quote(token.text.as_bytes());
                    return self.fail(format!("undefined variable {name}"));
                }
                ExprKind::Variable(vec![token.text])
            }
            Kind::Field => ExprKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => ExprKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => {
                match number::parse(&token.text, token.kind) {
                    Ok(number) => ExprKind::Number(number),
                    Err(reason) => return self.fail(reason),
                }
            }
            Kind::LeftParen => {
                self.deeper()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                return Ok(Some(Expr { at: pipe.at, kind: ExprKind::Pipe(Box::new(pipe)) }));
            }
            Kind::String | Kind::RawString => match unquote(token.text.as_bytes()) {
                Ok(text) => ExprKind::String { quoted: token.text, text: Arc::from(text) },
                Err(error) => return self.fail(error.to_string()),
            },
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Expr { at: token.at, kind }))
    }

    fn check_function(&self, name: &str) -> Parsed<()> {
        let quoted = quote(name.as_bytes());
        match self.functions.knows(name) {
            Known::Yes => Ok(()),
            Known::Later => self.fail(format!("function {quoted} is not yet supported")),
            Known::No => self.fail(format!("function {quoted} not defined")),
        }
    }
}
