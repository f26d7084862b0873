//! Values of the configuration that have the type that YAML itself gives them: `'2'` is text and no number, a bare `5` is
//! no text. The parser alone would take one for the other; Snakemake, which reads the same file, does not.

use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde_saphyr::Spanned;

/// A value with its place.
pub(crate) struct Typed<T>(Spanned<T>);

impl<T> Deref for Typed<T> {
    type Target = Spanned<T>;

    fn deref(&self) -> &Spanned<T> {
        &self.0
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value: Bare(value),
            referenced,
            defined,
        } = Spanned::deserialize(deserializer)?;
        Ok(Self(Spanned::new(value, referenced, defined)))
    }
}

/// A type of YAML's: what of it is a `Self`.
pub(crate) trait Scalar: Sized {
    /// For people, behind "expected".
    const EXPECTED: &str;

    fn of_text(_text: &str) -> Option<Self> {
        None
    }

    fn of_number(_number: u64) -> Option<Self> {
        None
    }

    fn of_flag(_flag: bool) -> Option<Self> {
        None
    }
}

impl Scalar for String {
    const EXPECTED: &str =
        "text (a number, or yes, no, on, off, y, n, true, false, is text in quotes)";

    fn of_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Scalar for u32 {
    const EXPECTED: &str = "a whole number without quotes";

    fn of_number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Scalar for bool {
    const EXPECTED: &str = "true or false without quotes";

    fn of_flag(flag: bool) -> Option<Self> {
        Some(flag)
    }
}

struct Bare<T>(T);

impl<'de, T: Scalar> Deserialize<'de> for Bare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for nothing, the parser says which type it is.
        deserializer.deserialize_any(Any(PhantomData)).map(Self)
    }
}

struct Any<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::of_text(text).ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::of_number(number).ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<T, E> {
        T::of_flag(flag).ok_or_else(|| E::invalid_type(Unexpected::Bool(flag), &self))
    }
}
