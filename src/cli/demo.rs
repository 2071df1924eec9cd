//! `corelane demo`: two simulated inference servers and the gateway, ready to be tried.

use std::io;
use std::time::Duration;

use clap::Args;

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
        let text = config(&servers);
        let code = finish(run(Origin::new(Source::Text("demo", text)), Handed::default(), |started| {
            announce(started);
            settle();
            explain(started, &servers);
        }));
        drop(servers);
        code
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

fn config(servers: &[Sim; 2]) -> String {
    let [one, two] = servers;
    format!(
        r#"[[listener]]
address = "127.0.0.1:8080"

[cluster.sim]
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

[[route]]
name = "ping"
match = {{ path = "/ping" }}
respond = {{ status = 200, body = "pong\n" }}

[[route]]
name = "everything-else"
to = "sim"
"#,
        one.address(),
        two.address()
    )
}

fn explain(started: &Started, servers: &[Sim; 2]) {
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

See what it did (T, S, B, TTFT, ITL):
  curl http://{admin}/stats
  curl http://{admin}/metrics

Ctrl-C ends all of it.
"#,
        servers[0].address(),
        servers[1].address()
    ));
}
