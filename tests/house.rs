//! The house rules, checked on the source: floors, doors of outside packages, first lines, file lengths.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Floor of each room. A room may import from the floors below it, never from a neighbour, never from above.
const FLOORS: [(&str, u8); 28] = [
    ("base", 0),
    ("codec", 1),
    ("net", 1),
    ("board", 1),
    ("discovery", 1),
    ("route", 2),
    ("filter", 2),
    ("balance", 2),
    ("admission", 2),
    ("batch", 2),
    ("fanout", 2),
    ("health", 2),
    ("retry", 2),
    ("single_flight", 2),
    ("pool", 2),
    ("metrics", 2),
    ("multi", 2),
    ("cluster", 3),
    ("config", 4),
    ("plan", 5),
    ("proxy", 6),
    ("lane", 7),
    ("control", 8),
    ("cli", 9),
    ("main", 9),
    ("lib", 10),
    ("sim", 2),
    ("load", 3),
];

/// Rooms that may not import some room although it lies below them, and why.
const CLOSED: [(&str, &[&str], &str); 16] = [
    ("route", &["net", "discovery"], "deciders know no socket"),
    ("filter", &["net", "discovery"], "deciders know no socket"),
    ("balance", &["net", "discovery", "codec"], "deciders know no socket"),
    ("admission", &["net", "discovery", "codec"], "deciders know no socket"),
    ("batch", &["net", "discovery"], "deciders know no socket"),
    ("fanout", &["net", "discovery", "codec"], "deciders know no socket"),
    ("health", &["net", "discovery", "codec"], "deciders know no socket"),
    ("single_flight", &["net", "discovery"], "deciders know no socket"),
    ("retry", &["net", "discovery", "codec"], "deciders know no socket"),
    ("pool", &["net", "discovery", "codec"], "the pool is generic over the connection"),
    ("metrics", &["net", "discovery"], "deciders know no socket"),
    ("multi", &["net", "discovery"], "deciders know no socket"),
    ("cluster", &["net", "codec", "discovery"], "a cluster knows no socket and no body"),
    ("plan", &["net"], "a plan opens nothing"),
    ("config", &["net"], "a configuration opens nothing"),
    ("load", &["board", "discovery", "route", "balance", "pool", "sim"], "a witness, no relative"),
];

/// Where each outside package may be named.
const DOORS: [(&str, &[&str]); 30] = [
    ("monoio", &["net", "proxy", "lane", "control", "sim", "load", "cli"]),
    ("io_uring", &["net/driver.rs"]),
    ("futures_util", &["proxy"]),
    ("httparse", &["codec/split.rs"]),
    ("crossbeam_channel", &["lane/inbox.rs", "board/lines.rs", "board/spans.rs"]),
    ("socket2", &["net"]),
    ("rustix", &["net/fd.rs", "net/hangup.rs", "control/notify.rs", "control/replace.rs"]),
    ("listenfd", &["net/handed.rs"]),
    ("command_fds", &["control/replace.rs"]),
    ("core_affinity", &["lane/spawn.rs"]),
    ("hdrhistogram", &["metrics"]),
    ("lru", &["board/cache.rs"]),
    ("memchr", &["codec", "route", "load", "proxy/decide.rs", "proxy/file.rs"]),
    ("toml", &["config/reader.rs", "config/text.rs"]),
    ("regex", &["route/pattern.rs", "filter/guard"]),
    ("wide", &["codec/json/text.rs"]),
    ("ipnet", &["base/network.rs"]),
    ("humantime", &["base/say.rs", "config/units.rs", "metrics/access.rs"]),
    ("sha2", &["base/digest.rs"]),
    ("twox_hash", &["base/hash.rs"]),
    ("jsonschema", &["filter/validate/schema.rs"]),
    ("jsonwebtoken", &["filter/jwt/key_set.rs"]),
    ("ureq", &["control/agent.rs", "control/key_sets.rs", "control/traces.rs"]),
    ("prost", &["control/otlp.rs", "control/traces.rs"]),
    ("rustls", &["base/trust.rs", "net/tls.rs", "control/agent.rs"]),
    ("rustls_platform_verifier", &["base/trust.rs"]),
    ("strsim", &["config/reader.rs"]),
    ("signal_hook", &["control/signal.rs", "cli/top"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli/top"]),
];

/// Rooms that may wait; all others are deciders or data.
const DOERS: [&str; 7] = ["net", "proxy", "lane", "control", "sim", "load", "cli"];
/// Rooms that may read the clock.
const CLOCKS: [&str; 7] = ["proxy", "lane", "control", "sim", "load", "cli", "main"];

struct Source {
    /// Path below `src`.
    path: String,
    room: String,
    /// The text up to its unit tests.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let room = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&file).unwrap();
            let is_test = ["tests.rs", "testing.rs", "simulation.rs"].iter().any(|end| path.ends_with(end));
            let code = if is_test {
                String::new()
            } else {
                text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
            };
            Source { path, room, code, text }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
}

/// Rooms named by `crate::room` outside comments.
fn imports(code: &str) -> Vec<String> {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn rooms_import_downwards_only() {
    let floors: BTreeMap<_, _> = FLOORS.into_iter().collect();
    let mut broken = Vec::new();
    for source in sources() {
        let floor =
            *floors.get(source.room.as_str()).unwrap_or_else(|| panic!("{} has no floor", source.room));
        for room in imports(&source.code) {
            let Some(below) = floors.get(room.as_str()) else { continue };
            let closed =
                CLOSED.iter().find(|(who, what, _)| *who == source.room && what.contains(&room.as_str()));
            if let Some((_, _, why)) = closed {
                broken.push(format!("{} imports {room}: {why}", source.path));
            }
            if room != source.room && *below >= floor && source.room != "sim" {
                broken.push(format!("{} (floor {floor}) imports {room} (floor {below})", source.path));
            }
            if source.room == "sim" && !["base", "codec", "net", "metrics", "sim"].contains(&room.as_str()) {
                broken.push(format!(
                    "{} imports {room}: the simulator is a witness, not a relative",
                    source.path
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Rooms whose files import each other in one direction only.
const STRAIGHT: [&str; 2] = ["config", "plan"];

/// What a file names behind `super::` or the name of its room: `a` and `b` of `super::{a, b::C}`.
fn siblings(code: &str, room: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let within = format!("crate::{room}::");
    let text: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut found = Vec::new();
    for rest in text.split("super::").skip(1).chain(text.split(&within).skip(1)) {
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.push(name(group[start..at].trim_start()));
                    start = at + 1;
                }
                _ => {}
            }
            if c == '}' && depth == 0 && start == at + 1 {
                break;
            }
        }
    }
    found
}

#[test]
fn files_of_a_room_import_each_other_in_one_direction() {
    for room in STRAIGHT {
        let files: BTreeMap<String, String> = sources()
            .into_iter()
            .filter(|source| source.room == room && source.path.ends_with(".rs"))
            .map(|source| {
                let file = source.path[room.len() + 1..].trim_end_matches(".rs");
                (file.strip_suffix("/mod").unwrap_or(file).to_owned(), source.code)
            })
            .collect();
        let imports = |file: &str, code: &str| -> Vec<String> {
            if file == "mod" {
                let uses = code.lines().filter_map(|line| line.strip_prefix("pub use "));
                return uses.filter_map(|rest| rest.split("::").next()).map(str::to_owned).collect();
            }
            // A name is that of a file beside it, or of the room, else of an item of the room's front page.
            let folder = file.rsplit_once('/').map(|(folder, _)| folder);
            let page = |name: String| {
                let beside = folder.map(|folder| format!("{folder}/{name}"));
                let known = beside.into_iter().chain([name]).find(|name| files.contains_key(name));
                known.unwrap_or_else(|| "mod".to_owned())
            };
            // The front page of a folder hands out what stands in its files.
            let uses = code.lines().filter_map(|line| line.strip_prefix("pub use "));
            let within = uses.filter_map(|rest| rest.split("::").next()).map(|name| format!("{file}/{name}"));
            let within = within.filter(|name| files.contains_key(name));
            siblings(code, room).into_iter().map(page).chain(within).filter(|name| name != file).collect()
        };
        let mut left: BTreeMap<_, _> = files.iter().map(|(file, code)| (file, imports(file, code))).collect();
        // Files that import nothing that is left are done; in a circle each waits for another.
        loop {
            let free: Vec<_> = left
                .iter()
                .filter(|(_, imports)| !imports.iter().any(|name| left.contains_key(name)))
                .map(|(file, _)| *file)
                .collect();
            free.iter().for_each(|file| drop(left.remove(*file)));
            if free.is_empty() {
                break;
            }
        }
        assert!(left.is_empty(), "{room}: in a circle, or behind one: {left:?}");
    }
}

#[test]
fn outside_packages_come_in_by_their_doors() {
    let mut broken = Vec::new();
    for source in sources() {
        for (package, doors) in DOORS {
            let names = |line: &str| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && (line.contains(&format!(" {package}::"))
                        || line.contains(&format!("({package}::"))
                        || line.starts_with(&format!("{package}::"))
                        || line.contains(&format!("<{package}::")))
            };
            let is_door =
                doors.iter().any(|door| source.path == *door || source.path.starts_with(&format!("{door}/")));
            if !is_door && source.code.lines().any(names) {
                broken.push(format!("{} names {package}, whose doors are {doors:?}", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn deciders_neither_wait_nor_read_the_clock() {
    let mut broken = Vec::new();
    for source in sources() {
        let says = |word: &str| {
            source.code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
        };
        if !DOERS.contains(&source.room.as_str()) && says(".await") {
            broken.push(format!("{} waits", source.path));
        }
        if !CLOCKS.contains(&source.room.as_str())
            && (says("Instant::now()") || says("SystemTime::now()") || says(".elapsed()"))
        {
            broken.push(format!("{} reads the clock", source.path));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_file_says_its_duty_and_stays_readable() {
    let mut broken = Vec::new();
    let mut lengths = Vec::new();
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.len() < 20 {
            broken.push(format!("{} does not start with its duty", source.path));
        }
        let lines = source.text.lines().count();
        if lines > 600 {
            broken.push(format!("{} has {lines} lines: it has two duties", source.path));
        }
        lengths.push(lines);
        let words = ["util.rs", "helper", "manager"];
        broken.extend(
            words
                .iter()
                .filter(|word| source.path.contains(**word))
                .map(|word| format!("{} is named {word}", source.path)),
        );
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 200, "the median file has {median} lines");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Lines of one function at most: what is longer is more than one thought.
const FUNCTION_LINES_MAX: usize = 70;

/// Each function of `code` that is too long: its first line, and how many there are. Source is formatted, so a function
/// ends with the first brace that stands as far in as it began.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut long = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let words = ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "];
        let visible =
            text.strip_prefix("pub(").and_then(|rest| rest.split_once(") ")).map_or(text, |(_, fun)| fun);
        if text.starts_with("//")
            || line.ends_with(';')
            || !words.iter().any(|word| visible.starts_with(word))
        {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - text.len()]);
        let length = 1 + lines[at..].iter().position(|line| *line == end).unwrap_or_default();
        if length > FUNCTION_LINES_MAX {
            long.push((text.to_owned(), length));
        }
    }
    long
}

#[test]
fn a_function_is_one_thought() {
    let mut broken = Vec::new();
    for source in sources() {
        for (function, length) in long_functions(&source.code) {
            broken.push(format!("{}: {function} has {length} lines", source.path));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let body = "    let a = 1;\n".repeat(FUNCTION_LINES_MAX - 1);
    assert_eq!(long_functions(&format!("fn a() {{\n{body}}}\n")).len(), 1, "one too many is found");
    assert!(long_functions(&format!("fn a() {{\n{}}}\n", &body[15..])).is_empty());
}

/// Files of the flow that may know a client's connection: the outermost circle.
const KNOW_CLIENTS: [&str; 4] = ["proxy/client.rs", "proxy/downstream.rs", "proxy/idle.rs", "proxy/steps.rs"];

#[test]
fn only_the_outermost_circle_knows_a_client() {
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.room == "proxy" && !KNOW_CLIENTS.contains(&source.path.as_str()))
        .filter(|source| {
            let names = |line: &str| {
                line.contains("Client {") || line.contains("Client,") || line.contains("client::")
            };
            source.code.lines().any(|line| !line.trim_start().starts_with("//") && names(line))
        })
        .map(|source| source.path)
        .collect();
    assert!(broken.is_empty(), "they know a client: {broken:?}");
}

#[test]
fn unsafe_code_stands_on_one_page() {
    for source in sources() {
        let is_page = source.path == "net/fd.rs";
        let has = source.text.lines().any(|line| {
            !line.trim_start().starts_with("//")
                && (line.contains("unsafe {")
                    || line.contains("unsafe fn")
                    || line.contains("allow(unsafe_code)"))
        });
        assert!(is_page || !has, "{} has unsafe code", source.path);
    }
}

/// The modules of a room that `source` names, each as its path inside the room; the room's own `mod.rs` is the empty
/// path. Paths may be relative (`super::`), absolute (`crate::room::`) or of a module's own children.
fn modules_named(source: &Source, modules: &[Vec<String>]) -> Vec<Vec<String>> {
    let own = module_of(&source.path);
    let code: String = source
        .code
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !is_declaration(line))
        .flat_map(|line| [line, " "])
        .collect();
    let mut named = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let first = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        // Only the beginning of a path: `a::b` is met at `a`.
        if before[..before.len() - first.len()].ends_with("::") {
            continue;
        }
        let base = match first {
            "super" => own[..own.len().saturating_sub(1)].to_vec(),
            "self" => own.clone(),
            "crate" => match code[at + 2..].strip_prefix(&format!("{}::", source.room)) {
                Some(_) => vec![],
                None => continue,
            },
            child => {
                let path: Vec<_> = own.iter().cloned().chain([child.to_owned()]).collect();
                if modules.contains(&path) { path } else { continue }
            }
        };
        let skip = if first == "crate" { source.room.len() + 4 } else { 2 };
        follow(&code[at + skip..], base, modules, &mut named);
    }
    named.retain(|module| *module != own);
    named
}

/// Whether a line declares a child: `mod x;`.
fn is_declaration(line: &str) -> bool {
    line.ends_with(';') && line.trim_start_matches("pub ").starts_with("mod ")
}

/// Follows the path that goes on with `rest` from `base`, into groups too, as far as there are modules.
fn follow(rest: &str, mut base: Vec<String>, modules: &[Vec<String>], named: &mut Vec<Vec<String>>) {
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0;
        let inside = group.find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0
        });
        for item in group[..inside.unwrap_or(group.len())].split(',') {
            follow(item.trim(), base.clone(), modules, named);
        }
        return;
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let after = rest[name.len()..].strip_prefix("::");
    match (name.as_str(), after) {
        ("super", Some(after)) => {
            base.pop();
            follow(after, base, modules, named);
        }
        _ => {
            let deeper: Vec<_> = base.iter().cloned().chain([name]).collect();
            match (modules.contains(&deeper), after) {
                (true, Some(after)) => follow(after, deeper, modules, named),
                (true, None) => named.push(deeper),
                (false, _) => named.push(base),
            }
        }
    }
}

/// `room/a/b.rs` is `[a, b]`, `room/a/mod.rs` is `[a]`, `room/mod.rs` and `room.rs` are the room itself.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').skip(1).map(str::to_owned).collect()
}

/// Some circle, if there is one: what can be taken away because it imports nothing that is left is in none.
fn circle(mut imports: BTreeMap<String, Vec<String>>) -> Option<String> {
    loop {
        let free: Vec<_> =
            imports.iter().filter(|(_, all)| all.is_empty()).map(|(file, _)| file.clone()).collect();
        if free.is_empty() {
            break;
        }
        for file in free {
            imports.remove(&file);
            imports.values_mut().for_each(|all| all.retain(|one| *one != file));
        }
    }
    let mut walk = vec![imports.keys().next()?.clone()];
    loop {
        let next = imports[walk.last()?].first()?.clone();
        if let Some(start) = walk.iter().position(|file| *file == next) {
            return Some(walk[start..].iter().chain([&next]).cloned().collect::<Vec<_>>().join(" -> "));
        }
        walk.push(next);
    }
}

#[test]
fn files_of_one_room_form_no_circle() {
    let mut rooms: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for source in sources().into_iter().filter(|source| !source.code.is_empty()) {
        rooms.entry(source.room.clone()).or_default().push(source);
    }
    let mut broken = Vec::new();
    for (room, files) in &rooms {
        let modules: Vec<_> = files.iter().map(|file| module_of(&file.path)).collect();
        let name = |module: &[String]| if module.is_empty() { "mod".to_owned() } else { module.join("/") };
        let imports = files.iter().map(|file| {
            let named = modules_named(file, &modules);
            (name(&module_of(&file.path)), named.iter().map(|module| name(module)).collect())
        });
        broken.extend(circle(imports.collect()).map(|circle| format!("{room}: {circle}")));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
