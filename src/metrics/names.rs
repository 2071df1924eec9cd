//! Every metric name and help text, once.

/// A metric as the exposition shows it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it counts, from where to where.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $name:literal $help:literal)*) => {$(
        #[doc = $help]
        pub const $constant: Metric = Metric { name: $name, help: $help };
    )*};
}

metrics! {
    UPTIME "corelane_uptime_seconds" "Seconds since the gateway started."
    GENERATION "corelane_plan_generation" "Generation of the plan in force; one more with each reload."
    CONNECTIONS "corelane_connections" "Open client connections."
    ACCEPTED "corelane_connections_accepted_total" "Client connections accepted."
    HANDED_OVER "corelane_connections_handed_over_total" "Accepted connections handed to a less loaded lane."
    UNROUTED "corelane_unrouted_requests_total" "Requests refused before a route was found."
    PANICS "corelane_panics_total" "Panics, each of which cost one connection, or one thing that the control thread did."
    LOG_DROPPED "corelane_access_log_dropped_total" "Lines of the access log that were dropped because its channel was full."
    LOG_LOST "corelane_access_log_lost_total" "Lines of the access log that could not be written: a full disk, a folder that is gone."
    MESSAGES_LOST "corelane_messages_lost_total" "Messages of the program that were lost: nobody read stderr."
    SPANS "corelane_spans_total" "Spans of traced exchanges: sent to the collector, dropped for too many waited, or lost because it did not take them."
    REQUESTS "corelane_requests_total" "Exchanges that ended, by route and class of status; 499 is a client that left."
    BYTES_IN "corelane_request_body_bytes_total" "Request body bytes received."
    BYTES_OUT "corelane_response_body_bytes_total" "Response body bytes sent."
    TOKENS "corelane_tokens_total" "Token-bearing events relayed."
    USAGE_TOKENS "corelane_usage_tokens_total" "Tokens that answers tell of in `usage`: of prompts, written, and of prompts those that were cached."
    KEY_REQUESTS "corelane_key_requests_total" "Exchanges of those who showed a key, by key, model and class of status."
    KEY_TOKENS "corelane_key_tokens_total" "Tokens that answers to those who showed a key tell of, by key, model and kind."
    CANCEL "corelane_cancel_seconds" "From a client's leaving being noticed to its connection upstream being closed."
    TOTAL "corelane_request_duration_seconds" "T: first byte of the request head to last byte of the response."
    OVERHEAD "corelane_overhead_seconds" "The gateway's share of T: T minus the time spent waiting for the upstream and for the client."
    TTFT "corelane_ttft_seconds" "Request head complete to the first token-bearing event sent; streams only."
    ITL "corelane_itl_seconds" "From one token-bearing event sent to the next; streams only."
    QUEUE_WAIT "corelane_queue_wait_seconds" "How long those waited who found their cluster full."
    REFUSED "corelane_refused_total" "Answers of the gateway's own that say what went wrong, by code."
    LIMITED "corelane_limited_total" "Requests that a limit refused, by filter and by what it counts."
    LANE_REQUESTS "corelane_lane_requests_total" "Exchanges that ended, by lane."
    LANE_BUSY "corelane_lane_busy_ratio" "Share of the last second that a lane's thread had a core."
    ENDPOINT_TOTAL "corelane_endpoint_request_duration_seconds" "T of exchanges that an endpoint answered."
    ENDPOINT_CONNECT "corelane_endpoint_connect_seconds" "How long connections to an endpoint took to be made."
    ENDPOINT_TTFT "corelane_endpoint_ttft_seconds" "Request head complete to the first token-bearing event sent, of an endpoint's streams."
    ENDPOINT_ITL "corelane_endpoint_itl_seconds" "From one token-bearing event sent to the next, of an endpoint's streams."
    ENDPOINT_REQUESTS "corelane_endpoint_requests_total" "Exchanges that ended at an endpoint."
    ENDPOINT_FAULTS "corelane_endpoint_faults_total" "Attempts that failed through an endpoint, those that it refused included."
    ENDPOINT_CONNECTS "corelane_endpoint_connects_total" "Connections to an endpoint that were begun, those that it refused included."
    ENDPOINT_REUSED "corelane_endpoint_reused_total" "Attempts that found a pooled connection."
    RETRIES "corelane_retries_total" "Further attempts of requests, by cluster and reason."
    SHARED "corelane_shared_total" "Requests that were told the answer to somebody else's call, by cluster."
    BATCH_MEMBERS "corelane_batch_members" "Requests that a call carried, by cluster."
    BATCH_PIECES "corelane_batch_pieces_total" "Pieces of requests that have more items than one call takes, by cluster."
    BATCH_WAIT "corelane_batch_wait_seconds" "How long a request waited for others and for a place, by cluster."
    CACHE "corelane_cache_total" "Requests to a cluster that keeps answers, by what became of them: hit, miss, bypass."
    MIRROR "corelane_mirror_total" "Copies of requests for a cluster: sent and answered, skipped for a bound, or failed on their way."
    EJECTIONS "corelane_ejections_total" "How often an endpoint was taken out for faults in a row."
    ENDPOINT_ADMITTED "corelane_endpoint_admitted" "1 where requests may go to an endpoint, else 0."
    ENDPOINT_IDLE "corelane_endpoint_idle" "Idle connections to an endpoint."
    ENDPOINT_KEEP_ALIVE "corelane_endpoint_keep_alive_seconds" "How long an idle connection to an endpoint is trusted; the least of all lanes."
    ENDPOINT_IN_FLIGHT "corelane_endpoint_in_flight" "Requests in flight at an endpoint."
    QUEUE_DEPTH "corelane_queue_depth" "Requests that wait for a place in a full cluster."
}
