//! RFC 5001: which server answered.

use crate::ask::{Asker, view};
use domain::base::iana::Rtype;
use domain::base::opt::nsid::Nsid;

#[test]
fn section_2_1_the_server_names_itself_if_asked() {
    let mut asker = Asker::new(view(false));
    let asked = asker.ask_with("ns1.meridian.test", Rtype::A, &|opt| {
        opt.push(&Nsid::from_octets(b"").unwrap()).unwrap()
    });
    let opt = asked.message.opt().unwrap();
    let nsid: Nsid<_> = opt.opt().first().unwrap();
    assert_eq!(nsid.as_slice(), b"us-east-1");
    let not_asked = asker.ask_with("ns1.meridian.test", Rtype::A, &|_| ());
    assert!(
        not_asked
            .message
            .opt()
            .unwrap()
            .opt()
            .first::<Nsid<_>>()
            .is_none()
    );
}
