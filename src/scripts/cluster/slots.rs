//! Slots of a Redis Cluster: in which one a cell lies, and which server has it.

use redis::{ErrorKind, FromRedisValue, RedisError, Value, from_redis_value};

use crate::cell::CellId;
use crate::config::Address;

/// How many slots every cluster has.
pub const SLOTS: u16 = 16_384;

/// The checksum that the cluster specification names: CRC16 of XMODEM.
const CRC16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);

/// The slot of a hash tag, or of a key without one.
pub fn slot_of_tag(tag: &[u8]) -> u16 {
    CRC16.checksum(tag) % SLOTS
}

/// The slot of all keys of a cell, since they carry its tag.
pub fn slot_of_cell(cell: CellId) -> u16 {
    slot_of_tag(format!("c{cell}").as_bytes())
}

/// Which server has which slots, as one node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// First and last slot of each range with its primary, ordered.
    ranges: Vec<(u16, u16, Address)>,
    /// All servers that have slots, and their replicas.
    pub nodes: Vec<Address>,
}

impl SlotMap {
    /// Reads what `CLUSTER SLOTS` answers. A server that does not name itself is the one that was asked.
    pub fn parse(answer: Value, asked: &Address) -> Result<Self, RedisError> {
        let mut map = Self::default();
        for range in from_redis_value::<Vec<Vec<Value>>>(answer)? {
            let mut fields = range.into_iter();
            let first: u16 = next(&mut fields)?;
            let last: u16 = next(&mut fields)?;
            if first > last || last >= SLOTS {
                return Err(malformed());
            }
            let mut primary = None;
            for node in fields {
                let mut facts = from_redis_value::<Vec<Value>>(node)?.into_iter();
                let host: Option<String> = next(&mut facts)?;
                let port: u16 = next(&mut facts)?;
                let host =
                    host.filter(|it| !it.is_empty() && it != "?").unwrap_or_else(|| asked.host.clone());
                let address = Address { host, port };
                map.nodes.push(address.clone());
                primary.get_or_insert(address);
            }
            map.ranges.push((first, last, primary.ok_or_else(malformed)?));
        }
        map.ranges.sort();
        map.nodes.sort();
        map.nodes.dedup();
        Ok(map)
    }

    /// The server that has a slot; `None` where none has it.
    pub fn primary(&self, slot: u16) -> Option<&Address> {
        let behind = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, primary) = self.ranges.get(behind.checked_sub(1)?)?;
        (slot <= *last).then_some(primary)
    }

    /// Every server that has slots, once each.
    pub fn primaries(&self) -> Vec<&Address> {
        let mut all: Vec<&Address> = self.ranges.iter().map(|(.., it)| it).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether two nodes name the same servers for the same slots; which replicas they see may differ.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

fn next<T: FromRedisValue>(fields: &mut impl Iterator<Item = Value>) -> Result<T, RedisError> {
    Ok(from_redis_value(fields.next().ok_or_else(malformed)?)?)
}

fn malformed() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS was answered in a form that is not known").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the cluster specification's appendix and of `CLUSTER KEYSLOT`'s page, and others asked of a server.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(CRC16.checksum(b"123456789"), 0x31c3);
        for (tag, slot) in
            [("somekey", 11_058), ("hash_tag", 2_515), ("foo", 12_182), ("bar", 5_061), ("", 0)]
        {
            assert_eq!(slot_of_tag(tag.as_bytes()), slot, "{tag}");
        }
        for (cell, slot) in [(0, 10_282), (1, 14_347), (7, 6_349), (1_023, 3_377)] {
            assert_eq!(slot_of_cell(CellId(cell)), slot, "{cell}");
        }
    }

    /// As docs/operations.md has it.
    #[test]
    fn few_cells_share_a_slot() {
        let sharing = |cells: u16| {
            let mut slots = std::collections::BTreeMap::<u16, Vec<u16>>::new();
            (0..cells).for_each(|cell| slots.entry(slot_of_cell(CellId(cell))).or_default().push(cell));
            slots.into_values().filter(|it| it.len() > 1).collect::<Vec<_>>()
        };
        assert_eq!(sharing(512), [[0; 0]; 0]);
        let pairs = sharing(1_024);
        assert!(pairs.len() == 90 && pairs.iter().all(|it| it.len() == 2) && pairs.contains(&vec![10, 710]));
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64) -> Value {
        // Newer servers tell host names and more behind the id.
        let more = Value::Array(vec![text("hostname"), text("shop.example")]);
        Value::Array(vec![host, Value::Int(port), text("d1f06d7c"), more])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    #[test]
    fn an_answer_becomes_a_map() {
        let asked = Address { host: "here".to_owned(), port: 1 };
        let answer = Value::Array(vec![
            range(8_000, 16_383, vec![node(text("b"), 2), node(text("c"), 3)]),
            range(0, 0, vec![node(Value::Nil, 1)]),
            range(5, 7_000, vec![node(text(""), 1), node(text("?"), 4)]),
        ]);
        let map = SlotMap::parse(answer, &asked).unwrap();
        let primary = |slot| map.primary(slot).map(ToString::to_string);
        assert_eq!(primary(0).as_deref(), Some("here:1"));
        assert_eq!((primary(1), primary(4), primary(7_001)), (None, None, None));
        assert_eq!((primary(5), primary(7_000)), (Some("here:1".to_owned()), Some("here:1".to_owned())));
        assert_eq!(primary(16_383).as_deref(), Some("b:2"));
        let named = |all: Vec<&Address>| all.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(named(map.primaries()), ["b:2", "here:1"]);
        assert_eq!(named(map.nodes.iter().collect()), ["b:2", "c:3", "here:1", "here:4"]);

        let without_replicas = Value::Array(vec![
            range(0, 0, vec![node(text("here"), 1)]),
            range(5, 7_000, vec![node(text("here"), 1)]),
            range(8_000, 16_383, vec![node(text("b"), 2)]),
        ]);
        assert!(map.agrees_with(&SlotMap::parse(without_replicas, &asked).unwrap()));
        assert!(!map.agrees_with(&SlotMap::default()));
        for wrong in [
            Value::Okay,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(0, 16_384, vec![node(text("a"), 1)])]),
            Value::Array(vec![range(0, 5, vec![])]),
            Value::Array(vec![range(5, 0, vec![node(text("a"), 1)])]),
        ] {
            assert!(SlotMap::parse(wrong.clone(), &asked).is_err(), "{wrong:?}");
        }
    }
}
