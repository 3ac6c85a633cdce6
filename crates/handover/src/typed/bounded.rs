//! A deserializer for bytes that a hostile process may have written.
//!
//! postcard has no limit for two things that cost no bytes, or one each: elements without bytes, of which a list can have 2^64,
//! and nesting, which uses up the stack. This one passes all on to postcard's, and counts both.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// How deep a value may be nested, as in `serde_json`.
const MAX_DEPTH: u32 = 128;
/// How many elements all lists and maps of a value may have together, even if the message has fewer bytes.
const ALWAYS_ALLOWED: usize = 4096;

/// What is left of the limits of one value.
#[derive(Debug)]
pub(super) struct Bounds {
    depth: Cell<u32>,
    elements: Cell<usize>,
}

impl Bounds {
    /// Allows as many elements as the message has bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { depth: Cell::new(MAX_DEPTH), elements: Cell::new(bytes.len().max(ALWAYS_ALLOWED)) }
    }

    /// Returns a deserializer that keeps to the limits.
    pub(super) fn bound<D>(&self, inner: D) -> Bounded<'_, D> {
        Bounded { inner, bounds: self }
    }

    fn enter<E: Error>(&self) -> Result<Level<'_>, E> {
        let depth = self.depth.get().checked_sub(1);
        self.depth.set(depth.ok_or_else(|| E::custom(TOO_DEEP))?);
        Ok(Level(self))
    }

    fn count<E: Error>(&self) -> Result<(), E> {
        let elements = self.elements.get().checked_sub(1);
        self.elements.set(elements.ok_or_else(|| E::custom(TOO_MANY))?);
        Ok(())
    }

    /// Returns the limit that the value exceeds. postcard's errors have no text of their own.
    pub(super) fn exceeded(&self) -> Option<&'static str> {
        match (self.depth.get(), self.elements.get()) {
            (0, _) => Some(TOO_DEEP),
            (_, 0) => Some(TOO_MANY),
            _ => None,
        }
    }
}

const TOO_DEEP: &str = "it is nested deeper than 128 levels";
const TOO_MANY: &str = "its lists have more elements than the message has bytes, and more than 4,096";

/// A level of nesting, until it is dropped.
struct Level<'b>(&'b Bounds);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        // A depth of zero stays, because it explains the error.
        if self.0.depth.get() > 0 {
            self.0.depth.set(self.0.depth.get() + 1);
        }
    }
}

/// Something of serde's that passes all on, and keeps to the limits.
#[derive(Debug)]
pub(super) struct Bounded<'b, T> {
    inner: T,
    bounds: &'b Bounds,
}

/// A visitor of a value with others inside. `counts` is set if a message says how many.
struct Inside<'b, V> {
    visitor: V,
    bounds: &'b Bounds,
    counts: bool,
}

/// Passes on the values that have none inside.
macro_rules! plain {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                self.inner.$method(visitor)
            }
        )*
    };
}

/// Enters the values that have others inside.
macro_rules! nested {
    ($($method:ident($($argument:ident: $type:ty),*) $counts:literal)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(
                self,
                $($argument: $type,)*
                visitor: V,
            ) -> Result<V::Value, D::Error> {
                let Self { inner, bounds } = self;
                let _level = bounds.enter::<D::Error>()?;
                inner.$method($($argument,)* Inside { visitor, bounds, counts: $counts })
            }
        )*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_any deserialize_ignored_any
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    nested! {
        deserialize_option() false
        deserialize_newtype_struct(name: &'static str) false
        deserialize_seq() true
        deserialize_map() true
        deserialize_tuple(length: usize) false
        deserialize_tuple_struct(name: &'static str, length: usize) false
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) false
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) false
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(self.bounds.bound(inner))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(self.bounds.bound(inner))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { visitor, bounds, counts } = self;
        visitor.visit_seq(Elements { inner, bounds, counts })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { visitor, bounds, counts } = self;
        visitor.visit_map(Elements { inner, bounds, counts })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(self.bounds.bound(inner))
    }
}

/// The elements of a list or a map.
struct Elements<'b, A> {
    inner: A,
    bounds: &'b Bounds,
    counts: bool,
}

impl<A> Elements<'_, A> {
    fn count<E: Error>(&self) -> Result<(), E> {
        if self.counts { self.bounds.count() } else { Ok(()) }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.count::<A::Error>()?;
        self.inner.next_element_seed(Bounded { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.count::<A::Error>()?;
        self.inner.next_key_seed(Bounded { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Bounded { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.bounds.bound(inner))
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, self.bounds.bound(inner)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Bounded { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        let Self { inner, bounds } = self;
        inner.tuple_variant(length, Inside { visitor, bounds, counts: false })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let Self { inner, bounds } = self;
        inner.struct_variant(fields, Inside { visitor, bounds, counts: false })
    }
}
