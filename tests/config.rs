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
    assert!(wrong.len() >= 12);
    for file in wrong {
        let output = check(&file);
        assert_eq!(output.status.code(), Some(2), "{}", file.display());
        let expected = std::fs::read_to_string(file.with_extension("problems")).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{}", file.display());
    }
}
