//! Checksums, as lower-case hexadecimal.

use sha1::Digest as _;

use super::{Entry, fixed, text};
use crate::function::Param;
use crate::value::Value;

pub(super) fn functions() -> Vec<Entry> {
    use Param::String;
    vec![
        fixed("sha1sum", &[String], |_, args| Ok(hexadecimal(&sha1::Sha1::digest(text(args, 0))))),
        fixed("sha256sum", &[String], |_, args| {
            Ok(hexadecimal(&sha2::Sha256::digest(text(args, 0))))
        }),
        fixed("sha512sum", &[String], |_, args| {
            Ok(hexadecimal(&sha2::Sha512::digest(text(args, 0))))
        }),
        fixed("adler32sum", &[String], |_, args| Ok(adler32(text(args, 0)).to_string().into())),
    ]
}

fn hexadecimal(digest: &[u8]) -> Value {
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn adler32(data: &[u8]) -> u32 {
    let add = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    };
    let (a, b) = data.iter().fold((1, 0), add);
    b << 16 | a
}
