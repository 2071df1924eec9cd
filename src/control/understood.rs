//! `/config`: the configuration as written and as understood.

use serde_json::{Value, json};

use super::state::Control;

impl Control {
    /// The document of `/config`.
    pub(super) fn config(&self) -> Value {
        let plan = self.plan();
        json!({ "generation": plan.generation, "written": plan.written, "understood": *plan })
    }
}
