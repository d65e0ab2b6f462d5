use super::encode::encode;
use super::*;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z é\"]{1,8}"
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let datum = prop_oneof![
        Just(Datum::Null),
        Just(Datum::Unchanged),
        ".{0,12}".prop_map(Datum::Text),
    ];
    proptest::collection::vec(datum, 0..5)
}

fn relation() -> impl Strategy<Value = Relation> {
    let column = (name(), any::<bool>(), any::<u32>(), any::<i32>()).prop_map(
        |(name, is_identity, type_oid, type_modifier)| RelationColumn {
            name,
            is_identity,
            type_oid,
            type_modifier,
        },
    );
    let columns = proptest::collection::vec(column, 0..5);
    let identity = prop_oneof![Just('d'), Just('f'), Just('n'), Just('i')];
    (any::<u32>(), name(), name(), identity, columns).prop_map(
        |(oid, schema, name, replica_identity, columns)| Relation {
            oid,
            name: TableName { schema, name },
            replica_identity,
            columns,
        },
    )
}

fn time() -> impl Strategy<Value = Micros> {
    (0..1_u64 << 60).prop_map(Micros)
}

fn message() -> impl Strategy<Value = Message> {
    let lsn = || any::<u64>().prop_map(Lsn);
    prop_oneof![
        (lsn(), time(), any::<u32>()).prop_map(|(commit, committed_at, xid)| Message::Begin {
            commit,
            committed_at,
            xid: Xid(xid)
        }),
        (lsn(), lsn(), time()).prop_map(|(commit, end, committed_at)| Message::Commit {
            commit,
            end,
            committed_at
        }),
        Just(Message::Origin),
        relation().prop_map(Message::Relation),
        Just(Message::Type),
        (any::<u32>(), tuple()).prop_map(|(relation, new)| Message::Insert { relation, new }),
        (any::<u32>(), proptest::option::of(tuple()), tuple())
            .prop_map(|(relation, old, new)| Message::Update { relation, old, new }),
        (any::<u32>(), tuple()).prop_map(|(relation, old)| Message::Delete { relation, old }),
        proptest::collection::vec(any::<u32>(), 0..5)
            .prop_map(|relations| Message::Truncate { relations }),
        (any::<bool>(), lsn(), name(), any::<Vec<u8>>()).prop_map(
            |(is_transactional, at, prefix, content)| Message::Logical {
                is_transactional,
                at,
                prefix,
                content
            }
        ),
    ]
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(message in message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn a_message_cut_short_or_gone_long_is_refused(message in message(), at in any::<prop::sample::Index>()) {
        let mut bytes = encode(&message);
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn damaged_bytes_never_panic(message in message(), at in any::<prop::sample::Index>(), by in 1_u8..) {
        let mut bytes = encode(&message);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        let _ = decode(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(kind in prop::sample::select(b"BCORYIUDTMS".to_vec()), mut bytes in any::<Vec<u8>>()) {
        bytes.insert(0, kind);
        let _ = decode(&bytes);
    }
}

#[test]
fn the_bytes_are_those_of_the_protocol_s_description() {
    // An update of relation 0x4001 with the key's old value, as PostgreSQL 15 sends it.
    let bytes = b"U\0\0\x40\x01K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x012u";
    assert_eq!(
        decode(bytes),
        Ok(Message::Update {
            relation: 0x4001,
            old: Some(vec![Datum::Text("1".to_owned()), Datum::Null]),
            new: vec![Datum::Text("2".to_owned()), Datum::Unchanged],
        })
    );
    // 2000-01-01 00:00:01 UTC.
    let bytes = b"B\0\0\0\x16\xB3\x74\xD8\x48\0\0\0\0\0\x0F\x42\x40\0\0\x02\xE8";
    assert_eq!(
        decode(bytes),
        Ok(Message::Begin {
            commit: Lsn(0x16_B374_D848),
            committed_at: Micros(946_684_801_000_000),
            xid: Xid(744),
        })
    );
}

#[test]
fn what_was_not_asked_for_is_refused_by_name() {
    assert_eq!(decode(b""), Err(DecodeError::Empty));
    assert_eq!(decode(b"S\0\0\0\x01\x01"), Err(DecodeError::Kind('S')));
    let binary = b"I\0\0\0\x01N\0\x01b\0\0\0\x01x";
    let error = decode(binary).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a pgoutput message of kind 'I' has 0x62 as its value's kind"
    );
    let latin = b"I\0\0\0\x01N\0\x01t\0\0\0\x01\xE9";
    assert_eq!(
        decode(latin).unwrap_err().to_string(),
        "the value in a pgoutput message of kind 'I' is not UTF-8"
    );
}

#[test]
fn a_count_without_its_elements_reserves_nothing() {
    assert!(decode(b"T\xFF\xFF\xFF\xFF\0").is_err());
    assert!(decode(b"I\0\0\0\x01N\xFF\xFF").is_err());
    assert!(decode(b"M\x01\0\0\0\0\0\0\0\0a\0\xFF\xFF\xFF\xFF").is_err());
}

#[test]
fn a_time_before_1970_is_1970() {
    assert_eq!(since_1970(i64::MIN), Micros(0));
    assert_eq!(since_1970(-EPOCH - 1), Micros(0));
    assert_eq!(since_1970(i64::MAX), Micros(i64::MAX.cast_unsigned()));
}
