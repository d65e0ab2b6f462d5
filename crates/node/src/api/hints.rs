//! What to do about a problem, where whoever raises it has nothing more particular to say: nobody is
//! left with a refusal and no way on.

use super::problem::Kind;

/// The usual way on.
pub(crate) fn usual(kind: Kind) -> &'static str {
    use Kind as K;
    match kind {
        K::BadPath => "percent-encode the table's name and the key as UTF-8",
        K::BadQuery => "GET /openapi.json lists each path's parameters, and what they may be",
        K::BadHeader => {
            "send the header once, as ASCII text; GET /openapi.json lists those of a path"
        }
        K::BadSession => "send back the Meridian-Session of an earlier reply as it was, or none",
        K::BrokenBody | K::BodyTimeout => {
            "nothing of it happened: send it again, the whole body at once"
        }
        K::MalformedJson => "the body is one JSON value in UTF-8; a text has quotes of its own",
        K::NestingTooDeep => "flatten it: a document is nested at most 127 levels deep",
        K::TooLarge => "split it, or raise the dataset's limits in the topology",
        K::BadBody => "GET /openapi.json describes the body that each path takes",
        K::BadTable => "use 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'",
        K::BadKey => "shorten the key, or raise key-bytes-max in the dataset's limits",
        K::BadIdempotencyKey => "a random identifier of 16 bytes or more will do",
        K::SeveralDatasets => {
            "send a transaction for each dataset: only one dataset's rows commit together"
        }
        K::NotAnObject => "put a document that is a JSON object first",
        K::NotAnInteger => "put a document first in which the field is an integer, or is missing",
        K::OutOfRange => {
            "take the amount in smaller steps, or put the document anew with a smaller number"
        }
        K::PreconditionFailed => "read the row and decide anew",
        K::RowNotFound => {
            "if it was just written elsewhere, send the Meridian-Session of that reply, which waits \
             for it"
        }
        K::MethodNotAllowed => "the header Allow lists the methods that the path takes",
        K::AsideDecided => {
            "nothing is to be done; `meridian regions aside list` shows those that wait"
        }
        K::TooBusy | K::ShuttingDown | K::DatasetNotYet | K::RegionNotServing => {
            "send it to another region, or again a little later"
        }
        K::NotReady => "send requests to another region; /v1/status says how this one stands",
        K::Internal | K::TablesFailed => {
            "see the region's log; other regions take the request meanwhile"
        }
        _ => "GET /v1/status says how the region stands, and its log says more",
    }
}
