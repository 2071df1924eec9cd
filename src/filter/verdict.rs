//! What a filter is shown, and what it says.

use std::time::{Instant, SystemTime};

use crate::base::ids::{FilterId, RouteId};
use crate::codec::forwarded::Client;
use crate::codec::head::RequestHead;
use crate::codec::json::BodyEdits;
use crate::codec::operation::Operation;
use crate::codec::reply::ErrorReply;

/// What a filter may look at.
#[derive(Debug, Clone, Copy)]
pub struct View<'r> {
    /// What is asked.
    pub head: &'r RequestHead,
    /// Who asks.
    pub client: Client,
    /// Its route and the name of that, once it is known: not yet to the filters of a listener.
    pub route: Option<(RouteId, &'r str)>,
    /// What `{model}` of its route's path stands for.
    pub path_model: Option<&'r str>,
    /// Whether its route needs to know the model.
    pub asks_model: bool,
    /// What its route changes in its body, once it is known.
    pub edits: Option<&'r BodyEdits>,
    /// What is asked of the endpoint, by the path that goes there.
    pub operation: Operation,
    /// What the clock says,
    pub now: Instant,
    /// and the calendar.
    pub today: SystemTime,
}

/// A filter that refused a request, and what it is answered with.
pub type Refused = (FilterId, ErrorReply);

/// How far filters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All that could judge have judged.
    Done,
    /// The service of this one is to be asked first.
    Ask(FilterId),
}

/// What a filter says of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It passes.
    Continue,
    /// That shows once the route is known, or once the body was read.
    Later,
    /// A service is to be asked.
    Ask,
    /// It is answered with this.
    Refuse(ErrorReply),
}
