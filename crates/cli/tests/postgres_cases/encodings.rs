//! Databases in other encodings than UTF8.

use crate::system::{System, Wanted};

fn goes_round(encoding: &str, text: &str) {
    let system = System::start_with(&Wanted {
        schema: "CREATE TABLE public.words (id text PRIMARY KEY, v text, many text[], c char(5), j jsonb);",
        encoding: Some(encoding),
        ..Wanted::default()
    });
    let insert = format!(
        "INSERT INTO public.words VALUES \
         ('{text}', '{text}', ARRAY['{text}', NULL, ''], left('{text}', 2), '{{\"{text}\": 1}}')"
    );
    system.sql(0, &insert);
    system.barrier();
    system.sql(1, "UPDATE public.words SET v = v || v");
    system.expect("SELECT v FROM public.words", &format!("{text}{text}"));
    system.sql(2, &format!("DELETE FROM public.words WHERE id = '{text}'"));
    system.expect("SELECT count(*) FROM public.words", "0");
}

#[test]
fn text_in_latin1() {
    goes_round("LATIN1", "Käse ÿ ß");
}

#[test]
fn text_in_euc_jp() {
    goes_round("EUC_JP", "日本語テスト");
}

#[test]
fn text_in_windows_1251() {
    goes_round("WIN1251", "Привет");
}

#[test]
fn text_in_utf8_of_every_length() {
    goes_round("UTF8", "aé語🦀\u{301}\u{200d}\u{10ffff}");
}
