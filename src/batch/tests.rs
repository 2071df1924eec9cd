//! What each protocol takes, writes and refuses, case by case.

use bytes::Bytes;

use super::{Member, Protocol, Unfit};
use crate::base::limits::{BATCH_COMMON_BYTES_MAX, PIECE_COMMON_BYTES_MAX, PIECES_MAX};

fn json_array() -> Protocol {
    Protocol::JsonArray { request: "inputs".into(), answer: "outputs".into() }
}

fn read(protocol: &Protocol, body: &str) -> Option<Member> {
    protocol.read(Bytes::copy_from_slice(body.as_bytes()))
}

fn member(protocol: &Protocol, body: &str) -> Member {
    read(protocol, body).unwrap_or_else(|| panic!("{protocol:?} travels alone: {body}"))
}

/// The answers that requests with these bodies get.
fn split(protocol: &Protocol, bodies: &[&str], answer: &str) -> Result<Vec<String>, Unfit> {
    let members: Vec<_> = bodies.iter().map(|body| member(protocol, body)).collect();
    let parts = protocol.split(&members.iter().collect::<Vec<_>>(), answer.as_bytes())?;
    Ok(parts.into_iter().map(|part| String::from_utf8(part).unwrap()).collect())
}

fn merge(protocol: &Protocol, bodies: &[&str]) -> String {
    let members: Vec<_> = bodies.iter().map(|body| member(protocol, body)).collect();
    assert!(members.iter().all(|member| member.parameters() == members[0].parameters()), "{bodies:?}");
    String::from_utf8(protocol.merge(&members.iter().collect::<Vec<_>>())).unwrap()
}

use Protocol::{CohereRerank, KserveV2, OpenaiCompletions, OpenaiEmbeddings, TeiEmbed, TeiRerank};

#[test]
fn what_is_not_plain_travels_alone() {
    for (protocol, bodies) in [
        (
            OpenaiEmbeddings,
            &[
                "",
                "[]",
                "null",
                "{",
                "\u{feff}{\"input\":\"a\"}",
                r#"{"model":"m"}"#,
                r#"{"input":[]}"#,
                r#"{"input":null}"#,
                r#"{"input":1}"#,
                r#"{"input":{}}"#,
                r#"{"input":["a",[1]]}"#,
                r#"{"input":["a",1]}"#,
                r#"{"input":[1,"a"]}"#,
                r#"{"input":[[]]}"#,
                r#"{"input":[1.5]}"#,
                r#"{"input":[-1]}"#,
                r#"{"input":[[1],[1e0]]}"#,
                r#"{"input":[null]}"#,
                r#"{"input":"a","input":"b"}"#,
                r#"{"input":"a","\u0069nput":"b"}"#,
                r#"{"input":"a","Input":"b"}"#,
                r#"{"input":"a","x":1,"x":1}"#,
                r#"{"input":"a","x":{"y":1,"y":2}}"#,
                r#"{"input":"\ud800"}"#,
                r#"{"input":"\x"}"#,
                r#"{"input":"a","stream":true}"#,
                r#"{"input":"a","stream":1}"#,
                r#"{"input":"a","messages":[]}"#,
                r#"{"input":"a","x":NaN}"#,
                r#"{"input":"a","ſtream":true}"#,
                r#"{"input":"a"} x"#,
            ][..],
        ),
        (
            OpenaiCompletions,
            &[
                r#"{"prompt":"a","stream":true}"#,
                r#"{"prompt":"a","n":0}"#,
                r#"{"prompt":"a","n":1.5}"#,
                r#"{"prompt":"a","n":"2"}"#,
                r#"{"prompt":"a","n":-1}"#,
                r#"{"prompt":"a","n":1,"n":1}"#,
                r#"{"prompt":"a","N":2}"#,
                r#"{"prompt":"a","prompt_embeds":["x"]}"#,
                r#"{"prompt":"a","kv_transfer_params":{}}"#,
                r#"{"prompt":"a","n":99999999999999999999}"#,
                r#"{"prompt":null}"#,
            ],
        ),
        (TeiEmbed, &[r#"{"inputs":[]}"#, r#"{"input":"a"}"#, r#"{"inputs":[["a","b"]]}"#]),
        (
            TeiRerank,
            &[r#"{"query":"q","texts":"a"}"#, r#"{"query":"q","texts":[]}"#, r#"{"query":"q","texts":[1]}"#],
        ),
        (
            CohereRerank,
            &[
                r#"{"query":"q","documents":["a"],"top_n":0}"#,
                r#"{"query":"q","documents":["a"],"top_n":1,"top_n":2}"#,
                r#"{"query":"q","documents":["a"],"top_n":null,"top_n":2}"#,
                r#"{"query":"q","documents":["a"],"TOP_N":1}"#,
                r#"{"query":"q","documents":["a"],"top_n":-1}"#,
                r#"{"query":"q","documents":["a",null]}"#,
                r#"{"query":"q","documents":[["a"]]}"#,
            ],
        ),
        (
            json_array(),
            &[r#"{"inputs":[]}"#, r#"{"inputs":"a"}"#, r#"{"inputs":{}}"#, r#"{"outputs":[1]}"#, r#"[1]"#],
        ),
    ] {
        for body in bodies {
            assert!(read(&protocol, body).is_none(), "{protocol:?} {body}");
        }
    }
    assert!(OpenaiEmbeddings.read(Bytes::from_static(b"{\"input\":\"\xff\"}")).is_none());
    let deep = format!("{{\"input\":\"a\",\"x\":{}{}}}", "[".repeat(600), "]".repeat(600));
    assert!(read(&OpenaiEmbeddings, &deep).is_none());
}

#[test]
fn tensors_that_are_not_plain_travel_alone() {
    let whole = r#"{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    assert_eq!(member(&KserveV2, whole).items(), 2);
    for beside in [
        r#""outputs":[{"name":"sequence_output"}]"#,
        r#""outputs":[{"name":"o","parameters":{"binary_data" : false, "classification":2}}]"#,
        r#""parameters":{"binary_data_output":false}"#,
    ] {
        let beside = whole.replacen('{', &format!("{{{beside},"), 1);
        assert_eq!(member(&KserveV2, &beside).items(), 2, "{beside}");
    }
    for (from, to) in [
        ("[2,2]", "[2,3]"),
        ("[2,2]", "[5]"),
        ("[2,2]", "[]"),
        ("[2,2]", "[0,4]"),
        ("[2,2]", "[-2,2]"),
        ("[2,2]", "[2.0,2]"),
        ("[2,2]", "[2,18446744073709551615,18446744073709551615]"),
        ("[2,2]", "2"),
        ("[1,2,3,4]", "[[1,2,3],[4]]"),
        ("[1,2,3,4]", "[[1,2],3,4]"),
        ("[1,2,3,4]", "[[1,2],[3,[4]]]"),
        ("[1,2,3,4]", "[[[1,2],[3,4]]]"),
        ("[1,2,3,4]", "[1,2,3,{}]"),
        ("[1,2,3,4]", "[]"),
        ("[1,2,3,4]", "\"abcd\""),
        (",\"data\":[1,2,3,4]", ""),
        (",\"data\"", ",\"Data\""),
        ("\"shape\"", "\"shape\":[2,2],\"shape\""),
        ("\"name\"", "\"parameters\":{\"binary_data_size\":16},\"name\""),
        ("\"name\"", "\"parameters\":{\"\\u0062inary_data_size\":16},\"name\""),
        ("\"name\"", "\"parameters\":{\"shared_memory_region\":\"x\"},\"name\""),
        ("{\"inputs\"", "{\"parameters\":{\"binary_data_output\":true},\"inputs\""),
        ("{\"inputs\"", "{\"parameters\":{\"sequence_id\":3},\"inputs\""),
        ("{\"inputs\"", "{\"outputs\":[{\"name\":\"o\",\"parameters\":{\"binary_data\":true}}],\"inputs\""),
        (
            "{\"inputs\"",
            "{\"parameters\":{\"binary_data_output\":false,\"nested\":{\"binary_data_output\":true}},\"inputs\"",
        ),
        ("{\"inputs\"", "{\"id\":1,\"inputs\""),
        ("{\"inputs\"", "{\"id\":\"1\",\"id\":\"2\",\"inputs\""),
        ("{\"inputs\"", "{\"Inputs\":[],\"inputs\""),
        ("4]}]", "4]},{\"name\":\"b\",\"shape\":[1],\"data\":[1]}]"),
        ("4]}]", "4]},1]"),
    ] {
        let body = whole.replacen(from, to, 1);
        assert_ne!(body, whole);
        assert!(read(&KserveV2, &body).is_none(), "{body}");
    }
}

#[test]
fn who_says_the_same_beside_the_items_travels_together() {
    let tensor = r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
    for (protocol, one, other, are_same) in [
        (
            OpenaiEmbeddings,
            r#"{"input":"a","model":"m"}"#,
            r#"{ "model":"\u006d", "input":["b","c"] }"#,
            true,
        ),
        (OpenaiEmbeddings, r#"{"input":"a","d":256}"#, r#"{"input":"b","d":2.56e2}"#, true),
        (OpenaiEmbeddings, r#"{"input":"a","d":256}"#, r#"{"input":"b","d":257}"#, false),
        (OpenaiEmbeddings, r#"{"input":"a"}"#, r#"{"input":"b","user":null}"#, false),
        (OpenaiEmbeddings, r#"{"input":"a"}"#, r#"{"input":[1,2]}"#, false),
        (OpenaiEmbeddings, r#"{"input":[[1]]}"#, r#"{"input":[1,2]}"#, true),
        (OpenaiCompletions, r#"{"prompt":"a","n":2}"#, r#"{"prompt":"b"}"#, false),
        (OpenaiCompletions, r#"{"prompt":"a","best_of":2}"#, r#"{"prompt":"b"}"#, false),
        (TeiRerank, r#"{"query":"q","texts":["a"]}"#, r#"{"texts":["b"],"query":"q"}"#, true),
        (TeiRerank, r#"{"query":"q","texts":["a"]}"#, r#"{"texts":["b"],"query":"p"}"#, false),
        (
            CohereRerank,
            r#"{"query":"q","documents":["a"],"top_n":1}"#,
            r#"{"query":"q","documents":[{"text":"b"}]}"#,
            true,
        ),
        (KserveV2, tensor, &tensor.replace("[1,2],", "[3,2],").replace("[1,2]}", "[1,2,3,4,5,6]}"), true),
        (KserveV2, tensor, &tensor.replace("{\"inputs\"", "{\"id\":\"x\",\"inputs\""), true),
        (KserveV2, tensor, &tensor.replace("[1,2]}", "[[1,2]]}"), false),
        (KserveV2, tensor, &tensor.replace("[1,2],", "[1,1,2],"), false),
        (KserveV2, tensor, &tensor.replace("FP32", "FP64"), false),
        (KserveV2, tensor, &tensor.replace("\"a\"", "\"b\""), false),
        (
            KserveV2,
            tensor,
            &tensor.replace("{\"inputs\"", "{\"outputs\":[{\"name\":\"x\"}],\"inputs\""),
            false,
        ),
    ] {
        let digests = [one, other].map(|body| *member(&protocol, body).parameters());
        assert_eq!(digests[0] == digests[1], are_same, "{one}\n{other}");
    }
}

#[test]
fn a_call_has_the_items_of_all_and_the_parameters_of_the_first() {
    for (protocol, bodies, call) in [
        (
            OpenaiEmbeddings,
            &[
                r#"{ "model" : "\u006d","input":"a\n\ud83d\ude00", "d":1e0}"#,
                r#"{"d":1,"input":[ "b" ,"c"],"model":"m"}"#,
            ][..],
            r#"{"model":"\u006d","input":["a\n\ud83d\ude00","b" ,"c"],"d":1e0}"#,
        ),
        (
            OpenaiEmbeddings,
            &[r#"{"input":[1, 2]}"#, r#"{"input":[[3],[4,5]]}"#],
            r#"{"input":[[1, 2],[3],[4,5]]}"#,
        ),
        (OpenaiCompletions, &[r#"{"stream":false,"prompt":"a"}"#], r#"{"stream":false,"prompt":["a"]}"#),
        (
            CohereRerank,
            &[
                r#"{"top_n":1,"query":"q","documents":["a"]}"#,
                r#"{"query":"q","documents":[{"text":"b"}],"top_n":9}"#,
            ],
            r#"{"query":"q","documents":["a",{"text":"b"}]}"#,
        ),
        (
            json_array(),
            &[r#"{"inputs":[-0.0,null]}"#, r#"{"inputs":[{"a":1,"a":1E400}]}"#],
            r#"{"inputs":[-0.0,null,{"a":1,"a":1E400}]}"#,
        ),
        (
            KserveV2,
            &[
                r#"{"id":"1","inputs":[{"name":"a","shape":[1,2],"data":[1,2.0]},{"shape":[ 1 ],"data":["x"],"name":"b"}]}"#,
                r#"{"inputs":[{"data":[3,4,5, 6],"name":"a","shape":[2,2]},{"name":"b","shape":[2],"data":["y","z"]}],"id":"2"}"#,
            ],
            r#"{"inputs":[{"name":"a","shape":[3,2],"data":[1,2.0,3,4,5, 6]},{"shape":[3 ],"data":["x","y","z"],"name":"b"}]}"#,
        ),
    ] {
        assert_eq!(merge(&protocol, bodies), call);
    }
}

#[test]
fn each_gets_what_became_of_its_items() {
    for (protocol, bodies, answer, parts) in [
        (
            OpenaiEmbeddings,
            &[r#"{"input":"abc"}"#, r#"{"input":["d","e"]}"#][..],
            r#"{"object":"list", "data" : [{"index":2,"embedding":[1E400]},{"embedding":"x","index":0},{"index": 1 }],"usage":{"prompt_tokens":11,"total_tokens":11}}"#,
            &[
                r#"{"object":"list", "data" : [{"embedding":"x","index":0}],"usage":{"prompt_tokens":5,"total_tokens":5}}"#,
                r#"{"object":"list", "data" : [{"index": 0 },{"index":1,"embedding":[1E400]}],"usage":{"prompt_tokens":6,"total_tokens":6}}"#,
            ][..],
        ),
        // Without indexes: by place. Numbers that JSON has not pass.
        (
            TeiEmbed,
            &[r#"{"inputs":"a"}"#, r#"{"inputs":["b"]}"#],
            "[[NaN, -0.0],[1e-7]]",
            &["[[NaN, -0.0]]", "[[1e-7]]"],
        ),
        (
            OpenaiEmbeddings,
            &[r#"{"input":"a"}"#, r#"{"input":["b"]}"#],
            r#"{"data":[{"e":1},{"e":2}]}"#,
            &[r#"{"data":[{"e":1}]}"#, r#"{"data":[{"e":2}]}"#],
        ),
        (
            OpenaiCompletions,
            &[r#"{"prompt":"a","n":2}"#, r#"{"prompt":"b","n":2}"#],
            r#"{"choices":[{"index":0},{"index":3},{"index":2},{"index":1}],"usage":null}"#,
            &[
                r#"{"choices":[{"index":0},{"index":1}],"usage":null}"#,
                r#"{"choices":[{"index":0},{"index":1}],"usage":null}"#,
            ],
        ),
        (
            TeiRerank,
            &[r#"{"query":"q","texts":["a","b"]}"#, r#"{"query":"q","texts":["c"]}"#],
            r#"[{"index":1,"score":0.9},{"index":2,"score":0.5},{"index":0,"score":0.1}]"#,
            &[r#"[{"index":1,"score":0.9},{"index":0,"score":0.1}]"#, r#"[{"index":0,"score":0.5}]"#],
        ),
        (
            CohereRerank,
            &[
                r#"{"query":"q","documents":["a","b"],"top_n":1}"#,
                r#"{"query":"q","documents":["c"],"top_n":5}"#,
            ],
            r#"{"id":"1","results":[{"index":2,"relevance_score":0.9},{"index":1,"relevance_score":0.5},{"index":0,"relevance_score":0.1}]}"#,
            &[
                r#"{"id":"1","results":[{"index":1,"relevance_score":0.5}]}"#,
                r#"{"id":"1","results":[{"index":0,"relevance_score":0.9}]}"#,
            ],
        ),
        (
            json_array(),
            &[r#"{"inputs":[1]}"#, r#"{"inputs":[2]}"#],
            r#"{"outputs":[{"index":1},"x"],"took":1.50}"#,
            &[r#"{"outputs":[{"index":1}],"took":1.50}"#, r#"{"outputs":["x"],"took":1.50}"#],
        ),
        (
            KserveV2,
            &[
                r#"{"inputs":[{"name":"a","shape":[1],"data":[1]}],"id":"\u0031"}"#,
                r#"{"inputs":[{"name":"a","shape":[2],"data":[1,2]}]}"#,
            ],
            r#"{"id":"g","outputs":[{"name":"o","shape":[3,2],"data":[1.0,2,3,4, 5,6]},{"data":[[],[],[]],"shape":[3,0]},{"data":[],"shape":[3,0]}]}"#,
            &[
                r#"{"id":"\u0031","outputs":[{"name":"o","shape":[1,2],"data":[1.0,2]},{"data":[[]],"shape":[1,0]},{"data":[],"shape":[1,0]}]}"#,
                r#"{"outputs":[{"name":"o","shape":[2,2],"data":[3,4, 5,6]},{"data":[[],[]],"shape":[2,0]},{"data":[],"shape":[2,0]}]}"#,
            ],
        ),
        (
            KserveV2,
            &[r#"{"inputs":[{"name":"a","shape":[1],"data":[1]}],"id":"7"}"#],
            r#"{"outputs":[{"name":"o","shape":[1],"data":[true]}]}"#,
            &[r#"{"outputs":[{"name":"o","shape":[1],"data":[true]}],"id":"7"}"#],
        ),
    ] {
        assert_eq!(
            split(&protocol, bodies, answer).as_deref(),
            Ok(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>()[..])
        );
    }
}

#[test]
fn an_answer_that_cannot_be_told_apart_is_unfit() {
    let two_inputs = &[r#"{"input":"a"}"#, r#"{"input":"b"}"#][..];
    let two_texts = &[r#"{"query":"q","texts":["a"]}"#, r#"{"query":"q","texts":["b"]}"#][..];
    let two_rows = &[r#"{"inputs":[{"name":"a","shape":[2],"data":[1,2]}]}"#][..];
    for (protocol, bodies, answer, unfit) in [
        (OpenaiEmbeddings, two_inputs, "", Unfit::Unreadable),
        (OpenaiEmbeddings, two_inputs, "{\"data\":[{},{}]", Unfit::Unreadable),
        (OpenaiEmbeddings, two_inputs, "[]", Unfit::Shape),
        (OpenaiEmbeddings, two_inputs, r#"{"error":"x"}"#, Unfit::Shape),
        (OpenaiEmbeddings, two_inputs, r#"{"data":{}}"#, Unfit::Shape),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{},1]}"#, Unfit::Shape),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{},{}],"data":[{},{}]}"#, Unfit::Shape),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{},{}],"usage":{},"usage":{}}"#, Unfit::Shape),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{}]}"#, Unfit::Count),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{},{},{}]}"#, Unfit::Count),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{"index":0},{"index":0}]}"#, Unfit::Index),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{"index":0},{"index":2}]}"#, Unfit::Index),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{"index":0},{}]}"#, Unfit::Index),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{"index":0},{"index":-1}]}"#, Unfit::Index),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{"index":0},{"index":null}]}"#, Unfit::Index),
        (OpenaiEmbeddings, two_inputs, r#"{"data":[{"index":0},{"index":1,"index":1}]}"#, Unfit::Index),
        (
            OpenaiEmbeddings,
            two_inputs,
            r#"{"data":[{"index":0},{"index":18446744073709551616}]}"#,
            Unfit::Index,
        ),
        (TeiRerank, two_texts, r#"[{"score":1},{"score":2}]"#, Unfit::Index),
        (TeiRerank, two_texts, r#"[{"index":0}]"#, Unfit::Count),
        (TeiRerank, two_texts, "{}", Unfit::Shape),
        (KserveV2, two_rows, r#"{"outputs":[{"shape":[1],"data":[1]}]}"#, Unfit::Count),
        (
            KserveV2,
            two_rows,
            r#"{"outputs":[{"shape":[2],"data":[1,2]},{"shape":[3],"data":[1,2,3]}]}"#,
            Unfit::Count,
        ),
        (KserveV2, two_rows, r#"{"outputs":[{"shape":[2],"data":[1]}]}"#, Unfit::Shape),
        (KserveV2, two_rows, r#"{"outputs":[{"shape":[2]}]}"#, Unfit::Shape),
        (
            KserveV2,
            two_rows,
            r#"{"outputs":[{"shape":[2],"parameters":{"binary_data_size":8}}]}"#,
            Unfit::Shape,
        ),
        (KserveV2, two_rows, r#"{"outputs":[]}"#, Unfit::Shape),
        (KserveV2, two_rows, r#"{"error":"x"}"#, Unfit::Shape),
    ] {
        assert_eq!(split(&protocol, bodies, answer), Err(unfit), "{answer}");
    }
    let long = "x".repeat(BATCH_COMMON_BYTES_MAX);
    let answer = format!("{{\"data\":[{{}},{{}}],\"x\":\"{long}\"}}");
    assert_eq!(split(&OpenaiEmbeddings, two_inputs, &answer), Err(Unfit::Common));
    assert!(split(&OpenaiEmbeddings, &[r#"{"input":["a","b"]}"#], &answer).is_ok(), "one may be told all");
}

#[test]
fn pieces_are_joined_in_their_order_and_rankings_by_score() {
    let whole = member(&CohereRerank, r#"{"query":"q","documents":["a","b","c","d","e"],"top_n":3}"#);
    let pieces = CohereRerank.cut(&whole, 2).unwrap();
    assert_eq!(pieces.iter().map(Member::items).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(
        String::from_utf8(CohereRerank.merge(&[&pieces[1]])).unwrap(),
        r#"{"query":"q","documents":["c","d"]}"#
    );
    let answers: [&[u8]; 3] = [
        br#"{"results":[{"index":1,"relevance_score":0.5},{"index":0,"relevance_score":0.10}],"usage":{"total_tokens":1}}"#,
        br#"{"results":[{"index":0,"relevance_score":9e-1},{"index":1,"relevance_score":null}],"usage":{"total_tokens":2}}"#,
        br#"{"results":[{"index":0,"relevance_score":0.5}],"usage":{"total_tokens":4}}"#,
    ];
    assert_eq!(
        CohereRerank.join(&whole, &pieces, &answers).map(|joined| String::from_utf8(joined).unwrap()),
        Ok(r#"{"results":[{"index":2,"relevance_score":9e-1},{"index":1,"relevance_score":0.5},{"index":4,"relevance_score":0.5}],"usage":{"total_tokens":7}}"#.to_owned())
    );
    assert_eq!(CohereRerank.join(&whole, &pieces, &answers[..2]), Err(Unfit::Count));
    assert_eq!(CohereRerank.join(&whole, &pieces, &[answers[2], answers[1], answers[0]]), Err(Unfit::Count));
    assert_eq!(CohereRerank.join(&whole, &[], &[]), Err(Unfit::Count));
    let tensor = member(&KserveV2, r#"{"id":"x","inputs":[{"name":"a","shape":[2],"data":[1,2]}]}"#);
    let pieces = KserveV2.cut(&tensor, 1).unwrap();
    let one = br#"{"outputs":[{"name":"o","shape":[1],"data":[1.0]}]}"#;
    for (other, joined) in [
        (
            &br#"{"outputs":[{"name":"o","data":[2e0],"shape":[1]}]}"#[..],
            Ok(r#"{"outputs":[{"name":"o","shape":[2],"data":[1.0,2e0]}],"id":"x"}"#.to_owned()),
        ),
        (br#"{"outputs":[{"name":"p","data":[2e0],"shape":[1]}]}"#, Err(Unfit::Shape)),
        (br#"{"outputs":[{"name":"o","data":[[2e0]],"shape":[1,1]}]}"#, Err(Unfit::Shape)),
    ] {
        let answer = KserveV2.join(&tensor, &pieces, &[one, other]);
        assert_eq!(answer.map(|answer| String::from_utf8(answer).unwrap()), joined);
    }
}

#[test]
fn a_request_is_cut_into_so_many_pieces_and_what_each_repeats_is_short() {
    let items = |count| vec!["\"a\""; count].join(",");
    let cut = |body: &str, most| {
        let member = member(&OpenaiEmbeddings, body);
        OpenaiEmbeddings.cut(&member, most)
    };
    let body = |count| format!("{{\"input\":[{}],\"model\":\"m\"}}", items(count));
    let pieces = cut(&body(PIECES_MAX), 1).unwrap();
    assert_eq!(pieces.len(), PIECES_MAX);
    // However many there are, one is written from what is common, not from all of it.
    assert_eq!(pieces[7].frame(), "{\"input\":[],\"model\":\"m\"}".as_bytes());
    assert_eq!(cut(&body(PIECES_MAX + 1), 1).map(|pieces| pieces.len()), None);
    assert_eq!(cut(&body(PIECES_MAX + 1), 2).unwrap().len(), PIECES_MAX / 2 + 1);
    let long = format!("{{\"input\":[{}],\"x\":\"{}\"}}", items(3), "x".repeat(PIECE_COMMON_BYTES_MAX));
    assert!(cut(&long, 2).is_none() && cut(&long, 3).unwrap().len() == 1);
}

#[test]
fn what_goes_unread_is_what_would_be_read_as_a_member() {
    let json_array = Protocol::JsonArray { request: "input".into(), answer: "output".into() };
    for (protocol, body, goes) in [
        (&OpenaiEmbeddings, r#"{"input":"one","model":"m"}"#, true),
        (&OpenaiEmbeddings, r#" {"model":"m","input":["one","two"]}"#, true),
        (&OpenaiEmbeddings, r#"{"input":["1","2","3","4"],"model":"m"}"#, false),
        (&OpenaiEmbeddings, r#"{"input":"with \n in it"}"#, false),
        (&OpenaiEmbeddings, r#"{"messages":[],"input":"one"}"#, false),
        (&OpenaiEmbeddings, r#"{"prompt":"one"}"#, false),
        (&OpenaiEmbeddings, r#"["input"]"#, false),
        (&OpenaiEmbeddings, "", false),
        (&OpenaiCompletions, r#"{"prompt":"one","n":4}"#, true),
        (&OpenaiCompletions, r#"{"prompt":"one","stream":true}"#, false),
        (&OpenaiCompletions, r#"{"prompt":"one","str\u0065am":true}"#, false),
        (&OpenaiCompletions, r#"{"prompt_embeds":"one"}"#, false),
        (&TeiRerank, r#"{"query":"q","texts":["a"]}"#, true),
        // Whatever it is: any body may be one of these.
        (&json_array, r#"{"input":["a"]}"#, false),
        (&KserveV2, r#"{"inputs":[{"name":"x","shape":[1],"data":[1]}]}"#, false),
    ] {
        assert_eq!(protocol.may_go_unread(body.as_bytes(), 4), goes, "{protocol:?} {body}");
        assert!(!goes || protocol.read(Bytes::from_static(body.as_bytes())).is_some(), "{body}");
    }
}

#[test]
fn items_are_called_as_the_protocol_calls_them() {
    let names = [
        (OpenaiEmbeddings, "input"),
        (OpenaiCompletions, "prompt"),
        (TeiEmbed, "inputs"),
        (TeiRerank, "texts"),
        (CohereRerank, "documents"),
        (KserveV2, "inputs"),
        (Protocol::JsonArray { request: "x".into(), answer: "y".into() }, "x"),
    ];
    assert!(names.iter().all(|(protocol, name)| protocol.items_name() == *name));
}
