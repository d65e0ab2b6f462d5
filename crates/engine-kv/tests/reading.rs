//! Reading: pages, tables, keys of every kind.

mod support;

use meridian_engine_kv::{Limits, Page, TableReader};
use meridian_model::Span;
use meridian_replicate::Engine as _;
use support::{Region, TestStore, delete, operation, put, request};

on_both_stores!(
    pages_cover_a_table_once_whatever_their_size,
    a_page_ends_by_bytes_but_has_a_row,
    a_page_over_many_deleted_rows_makes_progress,
    any_key_reads_back,
    a_list_of_long_names_is_shorter_and_says_so,
    tables_with_rows_are_listed,
    a_page_is_one_moment,
    what_was_seen_moves_with_the_rows,
);

fn keys(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|(key, _)| key.as_str()).collect()
}

fn all_keys<S: TestStore>(reader: &TableReader<S>, limit: usize, bytes_max: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = reader
            .page("t", after.as_deref(), limit, bytes_max)
            .unwrap();
        assert!(page.rows.len() <= limit);
        found.extend(page.rows.into_iter().map(|(key, _)| key));
        match page.next {
            None => return found,
            next => {
                assert!(next > after, "{next:?} goes on after {after:?}");
                after = next;
            }
        }
    }
}

fn a_list_of_long_names_is_shorter_and_says_so<S: TestStore>() {
    let (_home, store) = S::fresh();
    let limits = Limits {
        key_bytes_max: 4096,
        ..Limits::default()
    };
    let mut region = Region::with_limits(1, store, limits);
    let long = |number: usize| format!("{number:0>4000}");
    let names: Vec<String> = (0..40).map(long).collect();
    region.run(names.iter().map(|key| put(key, "1")).collect());
    let snapshot = region.reader().snapshot();
    let list = |span: Span, rows_max| snapshot.rows(&[span], rows_max).unwrap();
    // As many bytes as 16 rows with names of 512 would have.
    let (rows, complete) = list(Span::default(), 16);
    assert_eq!((rows.len(), complete), (2, false));
    let (rest, complete) = list(Span::default().behind(rows[1].0.clone()), usize::MAX);
    assert_eq!((rest.len(), complete), (38, true));
    // One is more than none, however long.
    assert_eq!(list(Span::default(), 1).0.len(), 1);
}

fn pages_cover_a_table_once_whatever_their_size<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    let names = ["a", "aa", "b", "c", "d", "e", "f"];
    region.run(names.iter().map(|key| put(key, "1")).collect());
    let other = meridian_engine_kv::Action::Put {
        document: "1".to_owned(),
    };
    region.run(vec![
        operation("s", "z", other.clone()),
        operation("t\u{1}", "a", other.clone()),
        operation("tt", "a", other),
    ]);
    region.run(vec![delete("c"), delete("f")]);
    let expected = ["a", "aa", "b", "d", "e"];
    for limit in 1..8 {
        assert_eq!(
            all_keys(&region.reader(), limit, 1_000),
            expected,
            "{limit}"
        );
    }
    let exact = region.reader().page("t", None, 3, 1_000).unwrap();
    assert_eq!(
        (keys(&exact), exact.next.is_some()),
        (vec!["a", "aa", "b"], true)
    );
    let last = region.reader().page("t", Some("b"), 2, 1_000).unwrap();
    assert_eq!((keys(&last), last.next.as_deref()), (vec!["d", "e"], None));
    let between = region.reader().page("t", Some("bb"), 1, 1_000).unwrap();
    assert_eq!(keys(&between), ["d"]);
    assert_eq!(
        region.reader().page("none", None, 5, 5).unwrap(),
        Page::default()
    );
}

fn a_page_ends_by_bytes_but_has_a_row<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    let long = format!("\"{}\"", "x".repeat(50));
    region.run(vec![
        put("a", "1"),
        put("b", "2"),
        put("c", &long),
        put("d", "3"),
    ]);
    let reader = region.reader();
    let page = reader.page("t", None, 10, 4).unwrap();
    assert_eq!(
        (keys(&page), page.next.as_deref()),
        (vec!["a", "b"], Some("b"))
    );
    let page = reader.page("t", Some("b"), 10, 4).unwrap();
    assert_eq!((keys(&page), page.next.as_deref()), (vec!["c"], Some("c")));
    assert_eq!(all_keys(&reader, 10, 1), ["a", "b", "c", "d"]);
}

fn a_page_over_many_deleted_rows_makes_progress<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    for range in [0..8_000, 8_000..12_000] {
        let names: Vec<String> = range.map(|key| format!("{key:05}")).collect();
        region.run(names.iter().map(|key| put(key, "1")).collect());
        region.run(names.iter().map(|key| delete(key)).collect());
    }
    region.put("zz", "1");
    let page = region.reader().page("t", None, 5, 1_000).unwrap();
    assert_eq!((keys(&page), page.next.as_deref()), (vec![], Some("09999")));
    assert_eq!(all_keys(&region.reader(), 5, 1_000), ["zz"]);
}

fn any_key_reads_back<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    let longest = "k".repeat(1023);
    let names = [
        "\0", "\0\0", "a", "a\0", "a\0b", "a\u{1}", "é", "日本", "😀", &longest,
    ];
    for (index, key) in names.iter().enumerate() {
        region.put(key, &index.to_string());
        region.increment(&format!("{key}+"), "n", 1);
    }
    for (index, key) in names.iter().enumerate() {
        assert_eq!(region.document(key), Some(index.to_string()), "{key:?}");
    }
    let mut expected: Vec<String> = names.iter().map(|key| (*key).to_owned()).collect();
    expected.extend(names.iter().map(|key| format!("{key}+")));
    expected.sort();
    assert_eq!(all_keys(&region.reader(), 3, 100_000), expected);
}

fn tables_with_rows_are_listed<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    for table in ["b", "a", "a b", "a\u{1}", "gone", "日本"] {
        for key in ["1", "2"] {
            let document = "1".to_owned();
            let action = meridian_engine_kv::Action::Put { document };
            region.run(vec![operation(table, key, action)]);
        }
    }
    for key in ["1", "2"] {
        region.run(vec![operation(
            "gone",
            key,
            meridian_engine_kv::Action::Delete,
        )]);
    }
    let expected = ["a", "a\u{1}", "a b", "b", "日本"];
    assert_eq!(region.reader().tables().unwrap(), expected);
}

/// Readers beside the writer see all rows of each transaction or none.
fn a_page_is_one_moment<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    // Rows between the first and the last give a torn read time to happen.
    let between = (0..300).map(|row| format!("a{row:03}"));
    let names: Vec<String> = [vec!["a".into()], between.collect(), vec!["b".into()]].concat();
    let round = move |round: u32| {
        names
            .iter()
            .map(|key| put(key, &round.to_string()))
            .collect()
    };
    region.run(round(0));
    let reader = region.reader();
    let number = |key| -> u32 {
        let row = reader.get("t", key).unwrap().unwrap();
        row.document.parse().unwrap()
    };
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || (1..100).for_each(|at| drop(region.run(round(at)))));
        while !writing.is_finished() {
            let (first, last) = (number("a"), number("b"));
            assert!(
                first <= last,
                "the first row of {first}, then the last of {last}"
            );
            let page = reader.page("t", None, 400, 10_000).unwrap();
            assert_eq!(page.rows.len(), 302);
            let document = |at: usize| &page.rows[at].1.document;
            assert!((0..302).all(|at| document(at) == document(0)));
        }
        writing.join().unwrap();
    });
}

fn what_was_seen_moves_with_the_rows<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store.clone());
    let (first, _) = region.put("k", "1");
    assert!(region.reader().seen().unwrap().has_seen(first));
    region.stage(&request(vec![delete("k")])).unwrap();
    let staged = region.log.last().unwrap().0;
    let shown = region.reader().seen().unwrap();
    assert!(!shown.has_seen(staged), "it doesn't show yet");
    region.tables.discard();
    region.log.pop();
    let (second, _) = region.delete("k");
    assert!(region.reader().get("t", "k").unwrap().is_none());
    assert!(region.reader().seen().unwrap().has_seen(second));
    drop(region);
    let again = TableReader::new(store);
    assert!(again.seen().unwrap().has_seen(second), "kept with the rows");
}
