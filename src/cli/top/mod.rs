//! `corelane top`: T, S, B, TTFT and ITL of a running gateway in a terminal, new each second.

mod feed;
mod page;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;
use ratatui::layout::Rect;

use self::feed::Feed;
use self::page::{Told, View};
use super::admin::address;
use super::print::{complain, print};
use crate::base::address::Address;

/// How often the page looks for a key and for news.
const LOOK: Duration = Duration::from_millis(50);
/// How wide the page is where there is no terminal to be asked: nothing is left out.
const WIDTH: u16 = 240;

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane top --admin 127.0.0.1:9901\n\nKeys: left and right choose the column that endpoints are sorted by, r turns the order, up and down scroll, q ends it.\nTimes are of the last minute, rates of the last ten seconds, S is since the start."
)]
pub(super) struct Top {
    /// The admin API of the gateway. Its token, where it has one, is taken from CORELANE_ADMIN_TOKEN.
    #[arg(long, value_name = "ADDR", value_parser = address, default_value = "127.0.0.1:9901")]
    admin: Address,
    /// Prints the page once, as text.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(super) fn run(self) -> u8 {
        let first = match feed::ask(&self.admin) {
            Ok(stats) => stats,
            Err(error) => {
                complain(error);
                return 1;
            }
        };
        let mut told = Told::new(self.admin.to_string());
        told.add(Ok(first));
        if self.once {
            return print(text(&told));
        }
        match self.follow(told) {
            Ok(()) => 0,
            Err(error) => {
                complain(format_args!(
                    "the terminal cannot be used\n  why: {error}\n  fix: run it in a terminal, or with --once"
                ));
                1
            }
        }
    }

    /// Shows the page until somebody ends it.
    fn follow(&self, mut told: Told) -> io::Result<()> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT]
        {
            signal_hook::flag::register(signal, Arc::clone(&ended))?;
        }
        let feed = Feed::start(self.admin.clone())?;
        let mut view = View::default();
        let mut terminal = ratatui::try_init()?;
        let outcome = (|| {
            let mut is_stale = true;
            while !ended.load(Ordering::Relaxed) {
                if let Some(news) = feed.news() {
                    told.add(news);
                    is_stale = true;
                }
                if is_stale {
                    terminal
                        .draw(|frame| page::render(&told, &mut view, frame.area(), frame.buffer_mut()))?;
                    is_stale = false;
                }
                if event::poll(LOOK)? {
                    match event::read()? {
                        Event::Key(key) if key.kind != KeyEventKind::Release => {
                            let control = key.modifiers.contains(KeyModifiers::CONTROL);
                            match key.code {
                                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                                KeyCode::Char('c' | 'd') if control => return Ok(()),
                                code => view.press(code),
                            }
                        }
                        _ => {}
                    }
                    is_stale = true;
                }
            }
            Ok(())
        })();
        ratatui::try_restore()?;
        outcome
    }
}

/// The page as text, as long as it needs to be.
fn text(told: &Told) -> String {
    let width = match io::stdout().is_terminal() {
        true => terminal::size().map_or(WIDTH, |(width, _)| width),
        false => WIDTH,
    };
    let area = Rect::new(0, 0, width, told.height());
    let mut buffer = Buffer::empty(area);
    page::render(told, &mut View::default(), area, &mut buffer);
    let mut text = String::new();
    for line in buffer.content().chunks(usize::from(area.width)) {
        let line: String = line.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    format!("{}\n", text.trim_end())
}
