//! Tables of templates; and that no text makes them panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn context() -> Context {
    let dot = json!({
        "ID": "abc", "Names": "web", "Size": 3, "Ok": true, "None": null, "Ratio": 1.5,
        "State": {"Status": "running", "Pid": 12},
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"a.b": "c", "x": "y"}, "Empty": [], "NoLabels": {}},
        "Mounts": [{"Source": "/a", "RW": true}, {"Source": "/b", "RW": false}],
    });
    Context { dot, methods: BTreeMap::from([("Label", json!({"a.b": "c"}))]) }
}

fn render(text: &str) -> Result<String, Error> {
    Template::parse(text)?.render(&context())
}

#[test]
fn table() {
    let cases = [
        ("", ""),
        ("plain } text {", "plain } text {"),
        ("{{.ID}}", "abc"),
        ("{{ .ID }}\\t{{.Names}}\\n", "abc\tweb\n"),
        ("{{.State.Status}} {{.State.Pid}}", "running 12"),
        ("{{.None}}", "<no value>"),
        ("{{.Ratio}}", "1.5"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a.b:c x:y]"),
        ("{{json .State}}", r#"{"Pid":12,"Status":"running"}"#),
        ("{{json .ID}}", r#""abc""#),
        ("{{.State | json}}", r#"{"Pid":12,"Status":"running"}"#),
        ("{{join .Config.Env \",\"}}", "A=1,B=2"),
        ("{{.Config.Env | join \"-\"}}", "A=1-B=2"),
        ("{{index .Config.Env 1}}", "B=2"),
        ("{{index .Config.Labels \"a.b\"}}|{{index .Config.Labels \"none\"}}|", "c||"),
        ("{{index .Mounts 1 \"Source\"}}", "/b"),
        ("{{(index .Mounts 0).Source}}", "/a"),
        ("{{upper .ID}} {{.ID | upper | lower | title}}", "ABC Abc"),
        ("{{len .Mounts}} {{len .ID}} {{len .None}}", "2 3 0"),
        ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
        ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}}{{$.ID}} {{end}}", "0=/aabc 1=/babc "),
        ("{{range $m := .Mounts}}{{$m.RW}} {{end}}", "true false "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}", "a.b:c x:y "),
        ("{{range .Config.Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{if .Ok}}yes{{else}}no{{end}}", "yes"),
        ("{{if not .Ok}}yes{{else if eq .Size 3}}three{{else}}no{{end}}", "three"),
        ("{{if and .Ok .None}}yes{{else}}no{{end}}", "no"),
        ("{{or .None .ID}}", "abc"),
        ("{{and .ID .Names}}", "web"),
        ("{{if or (eq .ID \"x\") (gt .Size 2)}}yes{{end}}", "yes"),
        ("{{eq .ID \"x\" \"abc\"}} {{ne .ID \"x\"}} {{lt 1 2}} {{le 2 2}} {{ge 1.5 2}}", "true true true true false"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .None}}x{{else}}-{{end}}", "12-"),
        ("{{$x := .ID}}{{$x}}{{$x = \"new\"}}{{$x}}", "abcnew"),
        ("{{if .Ok}}{{$x := 1}}{{end}}{{$x := 2}}{{$x}}", "2"),
        ("a {{- .ID -}} b", "aabcb"),
        ("a {{/* note */}} b{{- /* note */ -}} c", "a  bc"),
        ("{{print 1 2 \"x\" 3}} {{println .ID}}", "1 2x3 abc\n"),
        (
            "{{printf \"%s-%5d|%-5s|%05d|%q|%.2f|%%\" .ID .Size .Names 7 .ID .Ratio}}",
            "abc-    3|web  |00007|\"abc\"|1.50|%",
        ),
        ("{{split \"a,b\" \",\"}}", "[a b]"),
        ("{{pad .ID 1 2}}|{{truncate .ID 2}}|{{slice .ID 1 2}}", " abc  |ab|b"),
        ("{{\"q\\\"\\n\"}}{{`raw\\d`}}", "q\"\nraw\\d"),
        ("{{.Label \"a.b\"}}{{.Label \"no\"}}", "c"),
        ("{{true}} {{nil | json}}", "true null"),
        ("{{-3}} {{ -4 -}} x", "-3 -4x"),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors() {
    let cases = [
        ("{{", "unclosed action"),
        ("{{.ID", "unclosed action"),
        ("x\n{{.Nope}}", "no field .Nope; there are Config, ID"),
        ("{{.ID.x}}", "no field .x in abc"),
        ("{{.None.x}}", "no field .x: there is nothing"),
        ("{{nope .ID}}", "function \"nope\" not defined"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if .Ok}}", "{{end}} is missing"),
        ("{{if .Ok}}{{else}}{{else}}{{end}}", "a second {{else}}"),
        ("{{if}}{{end}}", "missing value"),
        ("{{}}", "missing value"),
        ("{{.ID |}}", "missing value"),
        ("{{(.ID}}", "missing )"),
        ("{{.ID)}}", "unexpected words"),
        ("{{\"x}}", "unterminated string"),
        ("{{`x}}", "unterminated raw string"),
        ("{{\"\\z\"}}", "unknown escape"),
        ("{{1x}}", "bad number"),
        ("{{#}}", "unexpected '#'"),
        ("{{$x}}", "undefined variable $x"),
        ("{{$x = 1}}", "undefined variable $x"),
        ("{{index .Mounts 9}}", "index: index 9 is out of range"),
        ("{{slice .ID 2 1}}", "slice: 2:1 is out of range"),
        ("{{join .ID}}", "join: takes two arguments"),
        ("{{len .Size}}", "len: 3 has no length"),
        ("{{lt .ID 1}}", "lt: abc and 1 are of different"),
        ("{{printf \"%s\"}}", "printf: no value for %s"),
        ("{{printf \"%z\" 1}}", "printf: %z is not supported"),
        ("{{.ID 1}}", "only functions take arguments"),
        ("{{range .ID}}{{end}}", "range cannot go over abc"),
        ("{{template \"x\"}}", "{{template}} is not supported"),
    ];
    for (text, expected) in cases {
        let error = render(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(render("x\n{{.Nope}}").unwrap_err().line, 2);
    let deep = format!("{}.ID{}", "{{".to_owned() + &"(".repeat(1000), ")".repeat(1000) + "}}");
    assert!(render(&deep).unwrap_err().to_string().contains("nested more than"));
    let deep = "{{if .Ok}}".repeat(1000) + &"{{end}}".repeat(1000);
    assert!(render(&deep).unwrap_err().to_string().contains("nested more than"));
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,200}") {
        let _ = render(&text);
        let _ = render(&format!("{{{{{text}}}}}"));
    }

    #[test]
    fn never_panics_on_words(words in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", ".", ".ID", ".Mounts", "$", "$x", ":=", "=", ",",
        "|", "(", ")", "\"a\"", "`", "1", "-1", "1.5", "index", "slice", "printf", "\"%9999999999d %s\"", "join", "split",
        "json", "len", "eq", "and", "not", "pad", "truncate", "99999999999", "/*", "*/", " ", "é", "\n",
    ]), 0..30)) {
        let _ = render(&words.join(" "));
        let _ = render(&words.concat());
    }
}
