//! The language of configs and of `meta.conf`: reading, meaning and printing (format §2).

mod lexer;
mod number;
mod parser;
mod printer;
pub(crate) mod schema;
mod section;

use lexer::{Lexer, Token};
pub(crate) use number::parse_u64;
pub(crate) use parser::{Host, Included, Problem, parse};
pub(crate) use printer::{print, quote};
pub(crate) use section::{Section, Value};

use crate::env::Env;

/// Bytes of a string in a config. They are mostly UTF-8, but names in FAT volumes need not be.
pub(crate) type Bytes = Vec<u8>;

/// Readable form of a config string for messages.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads `meta.conf`: unknown options are passed over, calls of the create-time language are refused.
struct Reader<'a> {
    env: &'a Env,
}

impl Host for Reader<'_> {
    fn env(&self) -> &Env {
        self.env
    }

    fn strict(&self) -> bool {
        false
    }

    fn call(&mut self, _: &mut Section, name: &str, _: Vec<Bytes>) -> Result<Option<Included>, String> {
        if name == "include" || name.starts_with("define") {
            return Err(format!("{name}() is not allowed here"));
        }
        Ok(None)
    }

    fn closed(&mut self, _: &mut Section) -> Result<(), String> {
        Ok(())
    }
}

/// Reads the text of `meta.conf`. It ends at the first zero byte.
pub(crate) fn read(meta_conf: &[u8], env: &Env) -> Result<Section, Problem> {
    let end = meta_conf.iter().position(|byte| *byte == 0).unwrap_or(meta_conf.len());
    parse(&meta_conf[..end], &mut Reader { env })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reprint(meta_conf: &[u8]) -> Vec<u8> {
        print(&read(meta_conf, &Env::new()).unwrap())
    }

    #[test]
    fn printing_puts_options_into_schema_order_and_drops_defaults() {
        let conf = b"meta-version=\"1.0\"\nblock-cache-size-mb=8\nmeta-product='a b'\ntask x { on-init { } }\n\
            file-resource r { length=0x10 }\nfuture=1 future2={a,b} future3(x) future4 t { a=1 b { } }";
        let want = "meta-product=\"a b\"\nmeta-version=1.0\nfile-resource \"r\" {\nlength=16\n}\ntask \"x\" {\n}\n";
        assert_eq!(text(&reprint(conf)), want);
        assert_eq!(text(&reprint(b"# nothing\n")), "# Empty file\n");
    }

    #[test]
    fn what_a_hostile_file_may_say_is_refused() {
        let cases: [&[u8]; 9] = [
            b"task a { ",
            b"meta-product=\"x",
            b"task a { } }",
            b"task a { } task a { }",
            b"meta-product=",
            b"block-cache-size-mb=abc",
            b"include(\"/etc/passwd\")",
            b"/* open",
            b"a b c d",
        ];
        for case in cases {
            assert!(read(case, &Env::new()).is_err(), "{}", text(case));
        }
        let deep = b"x { ".repeat(100);
        assert!(read(&deep, &Env::new()).is_err());
    }

    proptest! {
        #[test]
        fn strings_survive_printing_and_reading(value in proptest::collection::vec(1u8.., 1..60)) {
            // a `${` would be substituted when read, as fwup does it
            prop_assume!(!value.windows(2).any(|w| w == b"${"));
            let mut conf = b"meta-misc=".to_vec();
            conf.extend(quote(&value));
            let section = read(&conf, &Env::new()).unwrap();
            prop_assert_eq!(section.text("meta-misc").unwrap(), &value[..]);
            prop_assert_eq!(&reprint(&reprint(&conf)), &reprint(&conf));
        }

        #[test]
        fn arbitrary_text_never_panics(conf in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&conf, &Env::new());
        }

        #[test]
        fn arbitrary_statements_never_panic(conf in "([a-z={}(),\"'$\\\\ #/*\n]|task |on-init |funlist|[0-9])*") {
            let _ = read(conf.as_bytes(), &Env::new());
        }
    }
}
