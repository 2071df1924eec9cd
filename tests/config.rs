//! Configuration files: the examples compile, the wrong ones are told with all their problems.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    files.sort();
    files
}

fn check(file: &Path) -> Output {
    let (folder, name) = (file.parent().unwrap(), file.file_name().unwrap());
    Command::new(env!("CARGO_BIN_EXE_corelane")).arg("check").arg(name).current_dir(folder).output().unwrap()
}

#[test]
fn every_example_compiles() {
    let examples = files("config");
    assert!(examples.len() >= 3);
    for file in examples {
        let output = check(&file);
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains(": ok\n"));
    }
}

#[test]
fn every_wrong_file_has_exactly_its_problems() {
    let wrong = files("tests/data/config/bad");
    assert!(wrong.len() >= 60);
    for file in wrong {
        let output = check(&file);
        assert_eq!(output.status.code(), Some(2), "{}", file.display());
        let expected = std::fs::read_to_string(file.with_extension("problems")).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{}", file.display());
    }
}

#[test]
fn the_defaults_of_the_example_are_those_of_no_file_at_all() {
    use corelane::control::load::{Origin, Source, load};
    let settings = |text: String| {
        let plan = load(&Origin::new(Source::Text("config/f", text)), None).unwrap();
        let shown = format!("{plan:?}");
        // Behind the text itself and the time at which it was read; without the places where values stand.
        let mut parts = shown[shown.find("server: ").unwrap()..].split("place: Place {");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| text + &part[part.find('}').unwrap()..])
    };
    let example =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/corelane.toml")).unwrap();
    let bare = "[cluster.chat]\nendpoints = [\"http://127.0.0.1:8000\", \"http://127.0.0.1:8001\"]\n\
        [[route]]\nto = \"chat\"\n[[route]]\nmatch = { path = \"/shared\" }\nto = \"chat\"\n\
        [[route]]\nmatch = { path = \"/ping\" }\nrespond = {}\n\
        [[route]]\nmatch = { path = \"/v1/models\" }\nrespond = \"models\"\n\
        [[route]]\nmatch = { path = \"/ask-all\" }\nfanout = { to = [\"chat\"] }\n\
        [[route]]\nmatch = { path = \"/multi\" }\nmulti = {}\n";
    assert_eq!(settings(example), settings(bare.to_owned()));
}

#[test]
fn what_was_understood_means_the_same_when_it_is_written_down() {
    use corelane::control::load::{Origin, Source, load};
    let understood = |text: String| {
        let plan = load(&Origin::new(Source::Text("config/f", text)), None).unwrap();
        let mut shown = serde_json::to_value(&plan).unwrap();
        for cluster in shown["cluster"].as_object_mut().unwrap().values_mut() {
            for endpoint in cluster["endpoints"].as_array_mut().unwrap() {
                // What follows from the URL has no key of its own.
                let endpoint = endpoint.as_object_mut().unwrap();
                ["addresses", "base", "host"]
                    .iter()
                    .for_each(|name| assert!(endpoint.remove(*name).is_some()));
            }
        }
        shown
    };
    for file in files("config") {
        let text = std::fs::read_to_string(file).unwrap();
        for text in [full(&text.replace("cores = ", "# cores = ")), text] {
            let shown = understood(text);
            assert_eq!(understood(toml::to_string(&shown).unwrap()), shown);
        }
    }
}

/// An example with what is absent by default put in, in the place of what stands above it under the same name.
fn full(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(shown) = line.strip_prefix("# e.g. ") {
            let name = format!("{} = ", shown.split(" = ").next().unwrap());
            let section = lines.iter().rposition(|line| line.starts_with('[')).unwrap_or(0);
            lines[section..]
                .iter_mut()
                .filter(|line| line.starts_with(&name))
                .for_each(|line| line.insert_str(0, "# "));
        }
        lines.push(line.strip_prefix("# e.g. ").unwrap_or(line).to_owned());
    }
    lines.join("\n")
}

fn schema() -> jsonschema::Validator {
    let output = Command::new(env!("CARGO_BIN_EXE_corelane")).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A file as an editor hands it to a schema.
fn tree(file: &Path) -> Option<serde_json::Value> {
    let tree: toml::Value = toml::from_str(&std::fs::read_to_string(file).unwrap()).ok()?;
    serde_json::to_value(tree).ok()
}

#[test]
fn the_schema_takes_the_examples_and_refuses_what_it_can_see() {
    let schema = schema();
    for file in files("config") {
        let errors: Vec<_> =
            schema.iter_errors(&tree(&file).unwrap()).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", file.display());
    }
    let mut seen = 0;
    for file in files("tests/data/config/bad") {
        let problems = std::fs::read_to_string(file.with_extension("problems")).unwrap();
        // What is wrong with the value of one key shows in the schema; what two of them make together does not.
        let is_visible =
            ["unknown key", "cannot be of type", "must be a whole number", "cannot be \"6", "has no `"]
                .iter()
                .any(|what| problems.contains(what));
        if let (true, Some(tree)) = (is_visible, tree(&file)) {
            seen += 1;
            assert!(!schema.is_valid(&tree), "{}", file.display());
        }
    }
    assert!(seen >= 20, "{seen}");
}
