//! Many requests in one: what a body asks for, element by element, and how each answer is written down. Pure.
//!
//! Two shapes. An array of `{"id", "method", "path", "headers", "body"}` is answered with an array, or with lines as they
//! finish; lines of OpenAI's batch files (`{"custom_id", "method", "url", "body"}`,
//! <https://platform.openai.com/docs/guides/batch>) are answered with such lines, in order.

mod asked;
mod envelope;
mod told;

pub use asked::{Asked, Malformed, Shape};
pub use envelope::{NotOne, elements};
pub use told::Telling;
