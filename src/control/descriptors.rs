//! What the limit of open descriptors bears: clients that take all of them leave none for the endpoints they wait for.

use crate::base::limits::{
    ADMIN_CONNECTIONS_MAX, DESCRIPTORS_A_LANE, DESCRIPTORS_OWN, DESCRIPTORS_SHARE, LOOKUPS_MAX,
    MIRROR_IN_FLIGHT_MAX, OPEN_FILES_UNKNOWN,
};
use crate::plan::{ClusterPlan, Plan};

/// The limit in force, and what it was told of last.
#[derive(Debug)]
pub(super) struct Descriptors {
    limit: u64,
    told: Option<usize>,
}

impl Descriptors {
    /// Raises the soft limit to the hard one: a soft limit of 1024 would stop at a twentieth of the default connections.
    pub(super) fn raise() -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(OPEN_FILES_UNKNOWN);
        Self { limit, told: None }
    }

    /// Connections to the admin API that it bears.
    pub(super) fn admin_connections(&self) -> usize {
        ADMIN_CONNECTIONS_MAX.min(share(self.limit))
    }

    /// Lowers the plan's connections to what the limit bears; what to tell the operator, if that is new.
    pub(super) fn clamp(&mut self, plan: &mut Plan) -> Option<String> {
        let idle: usize = plan
            .clusters
            .iter()
            .map(|cluster| cluster.settings.keep_alive.max_idle * cluster.endpoints.len())
            .sum();
        let asked = |is_asked: fn(&ClusterPlan) -> bool| {
            let those = plan.clusters.iter().filter(|cluster| is_asked(cluster));
            those.map(|cluster| cluster.endpoints.len()).sum::<usize>().min(LOOKUPS_MAX)
        };
        // Connections to endpoints that are no client's: those that lie idle, and those that ask what is served and how it is.
        let idle = idle + asked(|cluster| cluster.is_listed) + asked(|cluster| cluster.gauges().is_some());
        let mirrors = plan.routes.iter().filter(|route| route.action.mirror().is_some()).count();
        let copies = MIRROR_IN_FLIGHT_MAX as usize * mirrors;
        let bearable = bearable(self.limit, plan.lanes, plan.listeners.len(), [idle, copies]);
        let asked = plan.limits.connections;
        let clamped = (bearable < asked).then_some(bearable);
        plan.limits.connections = clamped.unwrap_or(asked);
        let is_new = clamped != std::mem::replace(&mut self.told, clamped);
        clamped.filter(|_| is_new).map(|bearable| {
            format!(
                "`limits.connections` is {bearable} instead of {asked}\n  why: {} descriptors may be open, and a client needs two: its own and one to an endpoint\n  fix: raise the limit of open files (ulimit -Hn, LimitNOFILE=), or ask for fewer connections",
                self.limit
            )
        })
    }
}

/// A part of the limit that something beside clients may take.
fn share(limit: u64) -> usize {
    usize::try_from(limit / DESCRIPTORS_SHARE).unwrap_or(usize::MAX).max(1)
}

/// How many clients a limit bears, at two descriptors each, beside connections to endpoints that are kept, and those of
/// copies.
fn bearable(limit: u64, lanes: usize, listeners: usize, beside: [usize; 2]) -> usize {
    // Of each listener each lane has a descriptor that it accepts from, one that it waits with, one to be handed over, and
    // a client without a place.
    let own = DESCRIPTORS_OWN + lanes * (DESCRIPTORS_A_LANE + 4 * listeners);
    let beside = beside.into_iter().chain([ADMIN_CONNECTIONS_MAX]);
    let reserve = own + beside.map(|several| several.min(share(limit))).sum::<usize>();
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserve);
    (left / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_room_for_what_they_wait_for() {
        for (limit, lanes, beside, clients) in [
            (10, 1, [128, 0], 1),
            (128, 2, [128, 0], 20),
            (128, 2, [128, 64], 12),
            (1024, 4, [128, 0], 376),
            (1024, 4, [128, 64], 344),
            (65_536, 4, [128, 0], 32_632),
            (u64::MAX, 4, [0, 0], usize::MAX / 2 - 72),
        ] {
            assert_eq!(bearable(limit, lanes, 1, beside), clients, "{limit}");
        }
    }
}
