//! Asks the gateway once a second, on a thread of its own: the page obeys keys while an answer is late.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::base::address::Address;
use crate::cli::admin;

/// How often the gateway is asked.
const EACH: Duration = Duration::from_secs(1);

/// What the gateway said, or why it said nothing.
pub(super) type News = Result<Value, String>;

/// What comes in.
pub(super) struct Feed {
    news: Receiver<News>,
}

impl Feed {
    /// Asks from now on; ends when it is dropped and the next answer is there.
    pub(super) fn start(address: Address) -> io::Result<Self> {
        let (sender, news) = sync_channel(1);
        thread::Builder::new().name("feed".to_owned()).spawn(move || {
            loop {
                thread::sleep(EACH);
                if sender.send(ask(&address)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { news })
    }

    /// What came, if something did.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

/// What `/stats` says.
pub(super) fn ask(address: &Address) -> News {
    let body = admin::get(address, "/stats")?;
    let stats: Value = serde_json::from_str(&body).map_err(|error| {
        format!("what answers at {address} is no corelane\n  why: {error}\n  fix: name its admin address")
    })?;
    match stats["all"].is_object() {
        true => Ok(stats),
        false => Err(format!(
            "the gateway at {address} tells too little\n  why: it is older than this program\n  fix: use the program that it runs"
        )),
    }
}
