//! Sets of the values of a small closed list: one byte in memory, a sorted list of names in the log.

/// Makes `$set`, a set of `$of`, which must be `Copy` and have `ALL`, at most eight values in order.
/// [`logged`] adds how it is written.
macro_rules! set {
    ($(#[$doc:meta])* $set:ident of $of:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $set(u8);

        impl $set {
            /// With nothing in it.
            pub const EMPTY: Self = Self(0);

            /// With exactly these.
            pub const fn of(values: &[$of]) -> Self {
                let mut bits = 0;
                let mut index = 0;
                while index < values.len() {
                    bits |= 1 << values[index] as u8;
                    index += 1;
                }
                Self(bits)
            }

            /// Whether the value is in it.
            pub const fn has(self, value: $of) -> bool {
                self.0 & (1 << value as u8) != 0
            }

            /// What is in either.
            #[must_use]
            pub const fn and(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether all of `other` is in it.
            pub const fn covers(self, other: Self) -> bool {
                other.0 & !self.0 == 0
            }

            /// Whether there is nothing in it.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// What is in it, in the order of the list.
            pub fn iter(self) -> impl Iterator<Item = $of> {
                $of::ALL.into_iter().filter(move |value| self.has(*value))
            }
        }

        impl FromIterator<$of> for $set {
            fn from_iter<I: IntoIterator<Item = $of>>(values: I) -> Self {
                values.into_iter().fold(Self::EMPTY, |set, value| set.and(Self::of(&[value])))
            }
        }
    };
}

/// Makes a [`set`] writable.
macro_rules! logged {
    ($set:ident of $of:ident) => {
        impl serde::Serialize for $set {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.iter().collect::<Vec<_>>().serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $set {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Vec::<$of>::deserialize(deserializer).map(Self::from_iter)
            }
        }

        impl schemars::JsonSchema for $set {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($set).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let items = generator.subschema_for::<$of>();
                schemars::json_schema!({ "type": "array", "items": items })
            }
        }
    };
}

pub(super) use {logged, set};
