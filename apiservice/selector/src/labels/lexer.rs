//! Text → tokens, as apimachinery's lexer cuts it: special characters are read greedily, everything else up to a blank
//! or a special character is a word.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Error,
    ClosedPar,
    Comma,
    DoesNotExist,
    DoubleEquals,
    Equals,
    GreaterThan,
    Identifier,
    In,
    LessThan,
    NotEquals,
    NotIn,
    OpenPar,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// All tokens of the text; the last one is [`Kind::End`].
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut position = 0;
    loop {
        while characters.get(position).is_some_and(|c| is_blank(*c)) {
            position += 1;
        }
        let Some(first) = characters.get(position) else {
            tokens.push(Token { kind: Kind::End, text: String::new() });
            return tokens;
        };
        let token =
            if is_special(*first) { special(&characters, position) } else { word(&characters, position) };
        position += token.text.chars().count();
        tokens.push(match token.kind {
            Kind::Error => {
                Token { kind: Kind::Error, text: format!("error expected: keyword found '{}'", token.text) }
            }
            _ => token,
        });
    }
}

/// The longest run of special characters that is an operator.
fn special(characters: &[char], start: usize) -> Token {
    let mut last: Option<Token> = None;
    let mut text = String::new();
    for character in characters[start..].iter().take_while(|c| is_special(**c)) {
        text.push(*character);
        match operator(&text) {
            Some(kind) => last = Some(Token { kind, text: text.clone() }),
            None if last.is_some() => break,
            None => {}
        }
    }
    last.unwrap_or(Token { kind: Kind::Error, text })
}

fn word(characters: &[char], start: usize) -> Token {
    let text: String =
        characters[start..].iter().take_while(|c| !is_blank(**c) && !is_special(**c)).collect();
    let kind = match text.as_str() {
        "in" => Kind::In,
        "notin" => Kind::NotIn,
        _ => Kind::Identifier,
    };
    Token { kind, text }
}

fn operator(text: &str) -> Option<Kind> {
    Some(match text {
        ")" => Kind::ClosedPar,
        "," => Kind::Comma,
        "!" => Kind::DoesNotExist,
        "==" => Kind::DoubleEquals,
        "=" => Kind::Equals,
        ">" => Kind::GreaterThan,
        "<" => Kind::LessThan,
        "!=" => Kind::NotEquals,
        "(" => Kind::OpenPar,
        _ => return None,
    })
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_special(character: char) -> bool {
    matches!(character, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
