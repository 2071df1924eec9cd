//! `corelane demo`: two simulated inference servers and the gateway, ready to be tried.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::key;
use super::print::{complain, print};
use super::run::{announce, finish};
use crate::base::address::Address;
use crate::base::say::settle;
use crate::control::load::{Origin, Source};
use crate::control::{Started, run};
use crate::net::driver;
use crate::net::handed::Handed;
use crate::sim::Sim;
use crate::sim::options::SimOptions;

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  corelane demo")]
pub(super) struct Demo {}

impl Demo {
    pub(super) fn run(self) -> u8 {
        let servers = match servers() {
            Ok(servers) => servers,
            Err(error) => {
                complain(format_args!(
                    "the simulated servers cannot run\n  why: {error}\n  fix: allow this process to open sockets"
                ));
                return 1;
            }
        };
        let keys = match Keys::new() {
            Ok(keys) => keys,
            Err(error) => {
                complain(format_args!(
                    "the demo's key cannot be kept\n  why: {error}\n  fix: let it write into the folder for temporary files (TMPDIR)"
                ));
                return 1;
            }
        };
        let text = config(&servers, &keys);
        let code = finish(run(Origin::new(Source::Text("demo", text)), Handed::default(), |started| {
            announce(started);
            settle();
            explain(started, &servers, &keys.key);
        }));
        drop(servers);
        code
    }
}

/// The key of a team that does not exist, and the file that has its digest while the demo runs.
struct Keys {
    key: String,
    file: PathBuf,
}

impl Keys {
    fn new() -> io::Result<Self> {
        let (key, block) = key::make("demo-team").map_err(io::Error::other)?;
        let file = std::env::temp_dir().join(format!("corelane-demo-{}.toml", std::process::id()));
        // One that lies there is somebody else's.
        File::create_new(&file)?.write_all(block.as_bytes())?;
        Ok(Self { key, file })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// One quick server and one slow one, so that balancing shows.
fn servers() -> io::Result<[Sim; 2]> {
    let free = Address::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let paced = |itl, seed| SimOptions {
        models: vec!["sim".to_owned()],
        itl: Duration::from_millis(itl),
        tokens: 32,
        seed,
        ..SimOptions::default()
    };
    let driver = driver::choose();
    Ok([Sim::start(&free, paced(20, 1), driver)?, Sim::start(&free, paced(60, 1), driver)?])
}

fn config(servers: &[Sim; 2], keys: &Keys) -> String {
    let [one, two] = servers;
    format!(
        r#"[[listener]]
address = "127.0.0.1:8080"

[cluster.sim]
engine = "vllm"
endpoints = ["http://{}", "http://{}"]
balance = "least-work"

[[route]]
name = "api"
match = {{ path = "/api", method = "POST" }}
to = "sim"

[[route]]
name = "openai"
match = {{ path = "/v1/*" }}
to = "sim"

[filter.keys]
kind = "keys"
file = {:?}

[filter.limits]
kind = "rate-limit"
by = "key"
requests = "30/min"

[[route]]
name = "team"
match = {{ path = "/team/*" }}
rewrite = {{ strip = "/team" }}
filters = ["keys", "limits"]
to = "sim"

[[route]]
name = "ping"
match = {{ path = "/ping" }}
respond = {{ status = 200, body = "pong\n" }}

[[route]]
name = "everything-else"
to = "sim"
"#,
        one.address(),
        two.address(),
        keys.file,
    )
}

fn explain(started: &Started, servers: &[Sim; 2], key: &str) {
    let gateway = started
        .listening
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace("127.0.0.1", "localhost");
    let admin =
        started.admin.as_ref().map(ToString::to_string).unwrap_or_default().replace("127.0.0.1", "localhost");
    let _ = print(format_args!(
        r#"
Two simulated inference servers are running, {} and {}, and the gateway in front of them.

Try:
  curl -X POST http://{gateway}/api -d '{{"data": "hello"}}'
  curl http://{gateway}/v1/models
  curl -N http://{gateway}/v1/chat/completions -H 'content-type: application/json' \
       -d '{{"model": "sim", "stream": true, "messages": [{{"role": "user", "content": "hello"}}]}}'
  curl -i http://{gateway}/v1/chat/completions -H 'x-sim: reset=head' \
       -d '{{"model": "sim", "messages": [{{"role": "user", "content": "hello"}}]}}'

With a key, thirty times a minute (without it 401, past them 429):
  curl -i http://{gateway}/team/v1/chat/completions -H 'authorization: Bearer {key}' \
       -d '{{"model": "sim", "messages": [{{"role": "user", "content": "hello"}}]}}'

See what it did (T, S, B, TTFT, ITL): http://{admin}/ in a browser, or
  curl http://{admin}/stats
  curl http://{admin}/metrics

Ctrl-C ends all of it.
"#,
        servers[0].address(),
        servers[1].address()
    ));
}
