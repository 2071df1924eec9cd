//! What the page shows, as a function of what was told and of how it is looked at.

use std::cmp::Ordering;
use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table, Widget};
use serde_json::Value;

use super::feed::News;
use crate::cli::figures::{count, share, span, time};

/// Seconds that the course of B shows.
const COURSE_S: usize = 60;

/// What was told so far.
pub(super) struct Told {
    address: String,
    stats: Value,
    /// Why the last question was not answered.
    failure: Option<String>,
    /// Requests a second, the newest last.
    course: VecDeque<u64>,
    /// Requests at the last answer.
    requests: Option<u64>,
}

/// How the page is looked at.
#[derive(Debug, Default)]
pub(super) struct View {
    column: usize,
    is_turned: bool,
    scrolled: usize,
}

/// A column of endpoints or routes: its title, the value that it sorts by, and how that is shown.
type Column = (&'static str, fn(&Thing) -> Key, fn(&Key) -> String);

/// A route or an endpoint.
struct Thing<'a> {
    name: &'a str,
    cluster: &'a str,
    told: &'a Value,
}

/// What is sorted by.
enum Key {
    Text(String),
    Number(f64),
}

fn of(thing: &Thing, path: &str) -> Key {
    Key::Number(thing.told.pointer(path).and_then(Value::as_f64).unwrap_or(0.0))
}

fn as_time(key: &Key) -> String {
    match key {
        Key::Number(us) if *us > 0.0 => time(Some(*us as u64)),
        _ => "-".to_owned(),
    }
}

fn as_count(key: &Key) -> String {
    match key {
        Key::Number(number) => count(*number),
        Key::Text(text) => text.clone(),
    }
}

fn as_share(key: &Key) -> String {
    match key {
        Key::Number(number) => share(*number),
        Key::Text(text) => text.clone(),
    }
}

const ENDPOINTS: [Column; 12] = [
    ("cluster", |thing| Key::Text(thing.cluster.to_owned()), as_count),
    ("endpoint", |thing| Key::Text(thing.name.to_owned()), as_count),
    ("state", |thing| Key::Text(thing.told["state"].as_str().unwrap_or("-").to_owned()), as_count),
    ("in flight", |thing| of(thing, "/in_flight"), as_count),
    ("requests", |thing| of(thing, "/requests"), as_count),
    ("faults", |thing| of(thing, "/faults"), as_count),
    ("T p50", |thing| of(thing, "/T_us/p50"), as_time),
    ("T p99", |thing| of(thing, "/T_us/p99"), as_time),
    ("TTFT p50", |thing| of(thing, "/ttft_us/p50"), as_time),
    ("TTFT p99", |thing| of(thing, "/ttft_us/p99"), as_time),
    ("ITL p50", |thing| of(thing, "/itl_us/p50"), as_time),
    ("idle", |thing| of(thing, "/idle"), as_count),
];

const ROUTES: [Column; 11] = [
    ("route", |thing| Key::Text(thing.name.to_owned()), as_count),
    ("req/s", |thing| of(thing, "/B/requests_per_s"), as_count),
    ("S", |thing| of(thing, "/S"), as_share),
    ("T p50", |thing| of(thing, "/T_us/p50"), as_time),
    ("T p99", |thing| of(thing, "/T_us/p99"), as_time),
    ("own p50", |thing| of(thing, "/overhead_us/p50"), as_time),
    ("TTFT p50", |thing| of(thing, "/ttft_us/p50"), as_time),
    ("ITL p50", |thing| of(thing, "/itl_us/p50"), as_time),
    ("tokens/s", |thing| of(thing, "/B/tokens_per_s"), as_count),
    ("in flight", |thing| of(thing, "/in_flight"), as_count),
    ("requests", |thing| of(thing, "/requests"), as_count),
];

const CLUSTERS: [Column; 11] = [
    ("cluster", |thing| Key::Text(thing.name.to_owned()), as_count),
    ("calls", |thing| of(thing, "/batch/calls"), as_count),
    ("members", |thing| of(thing, "/batch/members/sum"), as_count),
    ("p50", |thing| of(thing, "/batch/members/p50"), as_count),
    ("max", |thing| of(thing, "/batch/members/max"), as_count),
    ("wait p50", |thing| of(thing, "/batch/wait_us/p50"), as_time),
    ("wait p99", |thing| of(thing, "/batch/wait_us/p99"), as_time),
    ("pieces", |thing| of(thing, "/batch/pieces"), as_count),
    ("shared", |thing| of(thing, "/shared"), as_count),
    ("cache hits", |thing| of(thing, "/cache/hit"), as_count),
    ("misses", |thing| of(thing, "/cache/miss"), as_count),
];

impl Told {
    /// Nothing yet.
    pub(super) fn new(address: String) -> Self {
        let (failure, course, requests) = Default::default();
        Self { address, stats: Value::Null, failure, course, requests }
    }

    /// One more answer, or none.
    pub(super) fn add(&mut self, news: News) {
        let stats = match news {
            Ok(stats) => stats,
            Err(why) => {
                self.failure = Some(why.lines().next().unwrap_or_default().to_owned());
                self.requests = None;
                return;
            }
        };
        self.failure = None;
        let requests = stats["all"]["requests"].as_u64().unwrap_or(0);
        if let Some(before) = self.requests.replace(requests) {
            if self.course.len() == COURSE_S {
                self.course.pop_front();
            }
            // One that began anew counts from zero.
            self.course.push_back(requests.saturating_sub(before));
        }
        self.stats = stats;
    }

    /// Lines that all of it takes.
    pub(super) fn height(&self) -> u16 {
        let clusters = self.clusters().len();
        let merged = if clusters == 0 { 0 } else { clusters + 2 };
        let lines =
            usize::from(HEAD_LINES) + self.routes().len() + 2 + (self.endpoints().len() + 1).max(3) + merged;
        u16::try_from(lines).unwrap_or(u16::MAX)
    }

    fn routes(&self) -> Vec<Thing<'_>> {
        let routes = self.stats["routes"].as_object().into_iter().flatten();
        routes.map(|(name, told)| Thing { name, cluster: "", told }).collect()
    }

    /// Those whose requests share calls or answers.
    fn clusters(&self) -> Vec<Thing<'_>> {
        let clusters = self.stats["clusters"].as_object().into_iter().flatten();
        clusters.map(|(name, told)| Thing { name, cluster: "", told }).collect()
    }

    fn endpoints(&self) -> Vec<Thing<'_>> {
        let clusters = self.stats["endpoints"].as_object().into_iter().flatten();
        let all = clusters.flat_map(|(cluster, endpoints)| {
            let endpoints = endpoints.as_object().into_iter().flatten();
            endpoints.map(move |(name, told)| Thing { name, cluster, told })
        });
        all.collect()
    }

    /// Who waits for a place, over all clusters: each endpoint tells the number of its cluster.
    fn waiting(&self) -> f64 {
        let clusters = self.stats["endpoints"].as_object().into_iter().flatten();
        let first = clusters.filter_map(|(_, endpoints)| endpoints.as_object()?.values().next());
        first.filter_map(|endpoint| endpoint["queued"].as_f64()).sum()
    }
}

impl View {
    /// A key was pressed that does not end it.
    pub(super) fn press(&mut self, key: KeyCode) {
        match key {
            KeyCode::Right => self.column = (self.column + 1) % ENDPOINTS.len(),
            KeyCode::Left => self.column = (self.column + ENDPOINTS.len() - 1) % ENDPOINTS.len(),
            KeyCode::Char('r') => self.is_turned = !self.is_turned,
            KeyCode::Down => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            _ => {}
        }
    }
}

/// Between two columns.
const SPACE: u16 = 2;
/// Lines above the tables.
const HEAD_LINES: u16 = 6;

const SOFT: Style = Style::new().add_modifier(Modifier::DIM);
const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws the page.
pub(super) fn render(told: &Told, view: &mut View, area: Rect, buffer: &mut Buffer) {
    let routes = told.routes();
    // Endpoints have what routes leave, and three lines at least.
    let most = area.height.saturating_sub(HEAD_LINES + 3);
    let for_routes = u16::try_from(routes.len() + 2).unwrap_or(u16::MAX).min(most.max(2));
    // What is merged has what is left then, where anything is.
    let clusters = told.clusters();
    let least = HEAD_LINES + for_routes + 3;
    let for_clusters = match clusters.len() {
        0 => 0,
        count => u16::try_from(count + 2).unwrap_or(u16::MAX).min(area.height.saturating_sub(least)),
    };
    let parts = [HEAD_LINES, for_routes, for_clusters].map(Constraint::Length);
    let [head, above, merged, below] =
        Layout::vertical(parts.into_iter().chain([Constraint::Min(0)])).areas(area);
    head_of(told, head, buffer);
    table(&ROUTES, routes, None, above, buffer);
    table(&CLUSTERS, clusters, None, merged, buffer);
    let mut endpoints = told.endpoints();
    let (_, key, _) = ENDPOINTS[view.column];
    endpoints.sort_by(|a, b| match (key(a), key(b)) {
        // The largest number comes first, and the first letter.
        (Key::Number(a), Key::Number(b)) => b.total_cmp(&a),
        (Key::Text(a), Key::Text(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    });
    if view.is_turned {
        endpoints.reverse();
    }
    let room = usize::from(below.height.saturating_sub(1));
    view.scrolled = view.scrolled.min(endpoints.len().saturating_sub(room.max(1)));
    endpoints.drain(..view.scrolled);
    table(&ENDPOINTS, endpoints, Some(view.column), below, buffer);
}

fn head_of(told: &Told, area: Rect, buffer: &mut Buffer) {
    let rows: [Rect; HEAD_LINES as usize] =
        Layout::vertical([Constraint::Length(1); HEAD_LINES as usize]).areas(area);
    let stats = &told.stats;
    let connections: u64 =
        stats["connections"].as_array().into_iter().flatten().filter_map(Value::as_u64).sum();
    let about = format!(
        "  {}  {} lanes, {}, up {}, plan {}, {connections} connections",
        told.address,
        stats["lanes"],
        stats["io"].as_str().unwrap_or_default(),
        span(stats["uptime_s"].as_f64().unwrap_or(0.0)),
        stats["plan"]["generation"],
    );
    let mut first = vec![Span::styled("corelane", TITLE), Span::styled(about, SOFT)];
    if let Some(failure) = &told.failure {
        first.push(Span::styled(format!("  {failure}"), Style::new().fg(Color::Red)));
    }
    Line::from(first).render(rows[0], buffer);
    let all = &stats["all"];
    let both = |name: &str| {
        let of = |quantile: &str| all[name][quantile].as_u64().filter(|us| *us > 0);
        [time(of("p50")), time(of("p99"))]
    };
    let ([t50, t99], [f50, f99], [i50, i99], [o50, o99]) =
        (both("T_us"), both("ttft_us"), both("itl_us"), both("overhead_us"));
    let number = |value: &Value| count(value.as_f64().unwrap_or(0.0));
    let rates = &all["B"];
    let failed = all["requests"].as_f64().unwrap_or(0.0)
        - all["client_closed"].as_f64().unwrap_or(0.0)
        - all["success"].as_f64().unwrap_or(0.0);
    let lines = [
        vec![("T", format!("{t50} p50  {t99} p99")), ("own", format!("{o50} p50  {o99} p99"))],
        vec![("TTFT", format!("{f50} p50  {f99} p99")), ("ITL", format!("{i50} p50  {i99} p99"))],
        vec![
            ("S", share(all["S"].as_f64().unwrap_or(1.0))),
            ("failed", count(failed)),
            ("left", number(&all["client_closed"])),
            ("in flight", number(&all["in_flight"])),
            ("waiting", count(told.waiting())),
        ],
    ];
    for (line, row) in lines.into_iter().zip(&rows[1..4]) {
        let spans = line.into_iter().flat_map(|(name, value)| {
            let width = if value.len() > 10 { 26 } else { 8 };
            [Span::styled(format!("{name:<4} "), SOFT), Span::styled(format!("{value:<width$} "), TITLE)]
        });
        Line::from(spans.collect::<Vec<_>>()).render(*row, buffer);
    }
    let b = format!(
        "{} req/s  {} tokens/s  {} B/s in  {} B/s out ",
        number(&rates["requests_per_s"]),
        number(&rates["tokens_per_s"]),
        number(&rates["bytes_in_per_s"]),
        number(&rates["bytes_out_per_s"]),
    );
    let parts = [Constraint::Length(5 + b.len() as u16), Constraint::Max(COURSE_S as u16)];
    let [words, course] = Layout::horizontal(parts).areas(rows[4]);
    Line::from(vec![Span::styled("B    ", SOFT), Span::styled(b, TITLE)]).render(words, buffer);
    let shown = told.course.len().saturating_sub(usize::from(course.width));
    Sparkline::default().data(told.course.iter().skip(shown).copied()).render(course, buffer);
    Paragraph::new("").render(rows[5], buffer);
}

fn table(columns: &[Column], things: Vec<Thing>, sorted: Option<usize>, area: Rect, buffer: &mut Buffer) {
    let rows: Vec<Vec<String>> =
        things.iter().map(|thing| columns.iter().map(|(_, key, show)| show(&key(thing))).collect()).collect();
    let title = |at: usize| match sorted == Some(at) {
        true => format!("{}*", columns[at].0),
        false => columns[at].0.to_owned(),
    };
    let width = |at: usize| {
        let widest = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        u16::try_from(widest.max(title(at).chars().count())).unwrap_or(u16::MAX)
    };
    // Those that fit, whole: half a figure would be another one.
    let mut room = area.width.saturating_add(SPACE);
    let fits = |at: &usize| {
        let taken = width(*at).saturating_add(SPACE);
        let fits = taken <= room || *at == 0;
        room = room.saturating_sub(taken);
        fits
    };
    let shown: Vec<usize> = (0..columns.len()).take_while(fits).collect();
    let is_text = |at: usize| matches!(columns[at].0, "cluster" | "endpoint" | "state" | "route");
    let aligned = |at: usize, text: &str| {
        let line = Line::from(text.to_owned());
        if is_text(at) { line } else { line.right_aligned() }
    };
    let lines = rows.iter().map(|row| {
        Row::new(shown.iter().map(|at| {
            let (at, text) = (*at, &row[*at]);
            let style = match (columns[at].0, text.as_str()) {
                ("state", "up") => Style::new().fg(Color::Green),
                ("state", "trial") => Style::new().fg(Color::Yellow),
                ("state", _) => Style::new().fg(Color::Red),
                _ => Style::new(),
            };
            Cell::from(aligned(at, text)).style(style)
        }))
    });
    let titles = shown.iter().map(|at| Cell::from(aligned(*at, &title(*at))).style(SOFT));
    let widths = shown.iter().map(|at| Constraint::Length(width(*at)));
    let table = Table::new(lines, widths).header(Row::new(titles)).column_spacing(SPACE);
    Widget::render(table, area, buffer);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(requests: u64) -> Value {
        let times = json!({ "p50": 1_234, "p99": 56_789 });
        let endpoint = |state: &str, requests: u64| {
            json!({ "state": state, "in_flight": 1, "queued": 3, "requests": requests, "faults": 0, "idle": 2,
                    "T_us": times, "ttft_us": times, "itl_us": { "p50": 0 } })
        };
        let route = json!({ "requests": requests, "success": requests, "client_closed": 0, "in_flight": 2, "S": 1.0,
            "B": { "requests_per_s": 12.5, "tokens_per_s": 0, "bytes_in_per_s": 0, "bytes_out_per_s": 2048 },
            "T_us": times, "overhead_us": times, "ttft_us": times, "itl_us": { "p50": 0 } });
        json!({ "lanes": 2, "io": "epoll", "uptime_s": 3.0, "connections": [1, 2], "plan": { "generation": 4 },
            "all": route, "routes": { "chat": route },
            "clusters": { "embed": { "shared": 77, "batch": { "calls": 5, "pieces": 0, "members": { "sum": 91, "p50": 8, "max": 16 },
                "wait_us": { "p50": 700, "p99": 1500 } } } },
            "endpoints": { "up": { "http://a": endpoint("up", 5), "http://b": endpoint("ejected", 9) } } })
    }

    fn lines(told: &Told, view: &mut View, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, 140, height);
        let mut buffer = Buffer::empty(area);
        render(told, view, area, &mut buffer);
        let rows = buffer.content().chunks(140);
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn all_measures_stand_on_the_page() {
        let mut told = Told::new("127.0.0.1:9901".into());
        told.add(Ok(stats(100)));
        told.add(Ok(stats(130)));
        let page = lines(&told, &mut View::default(), told.height()).join("\n");
        for part in [
            "corelane  127.0.0.1:9901  2 lanes, epoll, up 3s, plan 4, 3 connections",
            "T    1.23ms p50  56.8ms p99",
            "S    100%",
            "waiting 3",
            "B    12 req/s  0 tokens/s  0 B/s in  2048 B/s out",
            "chat",
            "http://b",
            "ejected",
            "embed        5       91    8   16     700us    1.50ms",
            "77",
        ] {
            assert!(page.contains(part), "{part}:\n{page}");
        }
        told.add(Err("nobody answers\n  why: x".into()));
        let page = lines(&told, &mut View::default(), 24).join("\n");
        assert!(page.contains("nobody answers") && page.contains("http://a"), "what was known stays: {page}");
    }

    #[test]
    fn endpoints_sort_turn_and_scroll() {
        let mut told = Told::new("x".into());
        told.add(Ok(stats(1)));
        let mut view = View::default();
        let first = |view: &mut View, height: u16| {
            let page = lines(&told, view, height);
            page.into_iter().find(|line| line.starts_with("up ")).unwrap()
        };
        assert!(first(&mut view, 20).contains("http://a"));
        (0..4).for_each(|_| view.press(KeyCode::Right));
        assert!(first(&mut view, 20).contains("http://b"), "the most requests come first");
        view.press(KeyCode::Char('r'));
        assert!(first(&mut view, 20).contains("http://a"));
        // Two lines of endpoints are there, and one fits.
        view.press(KeyCode::Down);
        view.press(KeyCode::Down);
        assert!(first(&mut view, 10).contains("http://b"));
        view.press(KeyCode::Up);
        assert!(first(&mut view, 10).contains("http://a"));
        (0..5).for_each(|_| view.press(KeyCode::Left));
        assert_eq!(view.column, ENDPOINTS.len() - 1);
    }

    #[test]
    fn no_size_is_too_small() {
        let mut told = Told::new("x".into());
        told.add(Ok(stats(1)));
        for width in (0..30).step_by(7) {
            for height in 0..12 {
                let area = Rect::new(0, 0, width, height);
                render(&told, &mut View::default(), area, &mut Buffer::empty(area));
            }
        }
    }
}
