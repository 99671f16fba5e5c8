//! Passwords that are derived from a master password.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{Entry, fixed, lossy, text};
use crate::function::{Call, Fault, Param};
use crate::value::Value;

/// What every salt begins with.
const SEED: &[u8] = b"com.lyndir.masterpassword";

/// Steps for one password: it takes a tenth of a second and 32 MiB.
const DERIVE_STEPS: u64 = 200_000;

/// The logarithm of scrypt's cost, its block size, its passes, and the bytes of its key.
const SCRYPT: (u8, u32, u32, usize) = (15, 8, 2, 64);

pub(super) fn functions() -> Vec<Entry> {
    use Param::{String, Uint32};
    vec![fixed("derivePassword", &[Uint32, String, String, String, String], derive)]
}

fn derive(call: &mut Call<'_>, args: &[Value]) -> Result<Value, Fault> {
    let counter = args[0].as_unsigned().unwrap_or_default() as u32;
    let [kind, password, user, site] = [1, 2, 3, 4].map(|at| text(args, at));
    let Some(templates) = templates(kind) else {
        return Ok(format!("cannot find password template {}", lossy(kind)).into());
    };
    call.run.charge(DERIVE_STEPS)?;
    let seed = seed(counter, password, user, site)
        .map_err(|error| Fault::Message(format!("failed to derive password: {error}")))?;
    let template = templates[usize::from(seed[0]) % templates.len()];
    let pick = |(class, byte): (u8, &u8)| {
        let characters = characters(class);
        characters[usize::from(*byte) % characters.len()]
    };
    Ok(Value::string(template.bytes().zip(&seed[1..]).map(pick).collect::<Vec<u8>>()))
}

/// Returns the bytes that choose template and characters.
fn seed(
    counter: u32,
    password: &[u8],
    user: &[u8],
    site: &[u8],
) -> Result<Vec<u8>, scrypt::errors::InvalidParams> {
    let (cost, block, passes, length) = SCRYPT;
    let params = scrypt::Params::new(cost, block, passes, length)?;
    let mut key = vec![0; length];
    let salt = [SEED, &(user.len() as u32).to_be_bytes(), user].concat();
    scrypt::scrypt(password, &salt, &params, &mut key).expect("the length of the key is sound");
    let mut seed = Hmac::<Sha256>::new_from_slice(&key).expect("a key may have any length");
    seed.update(SEED);
    seed.update(&(site.len() as u32).to_be_bytes());
    seed.update(site);
    seed.update(&counter.to_be_bytes());
    Ok(seed.finalize().into_bytes().to_vec())
}

/// Returns the shapes of a kind of password; every letter is a class of characters.
fn templates(kind: &[u8]) -> Option<&'static [&'static str]> {
    Some(match kind {
        b"maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        b"long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        b"medium" => &["CvcnoCvc", "CvcCvcno"],
        b"short" => &["Cvcn"],
        b"basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        b"pin" => &["nnnn"],
        _ => return None,
    })
}

fn characters(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'A' => b"AEIOUBCDFGHJKLMNPQRSTVWXYZ",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}
