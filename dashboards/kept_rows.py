"""What the dashboard asks about what gateways keep: events, catalogue, versions, weights."""

from dashboards.panels import SOURCE, Panel, Row, Target, quantiles, rate

DATA = Row(
    "Events, catalogue, versions",
    (
        Panel(
            "Events per second by type",
            "Acknowledged events. Zero while the shop is open means the storefront does not send "
            "them: rankings go stale, nothing else breaks.",
            "cps",
            (Target(rate("plait_events_total", by="type"), "{{type}}"),),
        ),
        Panel(
            "Time to make events durable",
            "One commit to the state file. If it exceeds 50 ms, the disk is slow or full: check "
            "the gateway's volume.",
            "s",
            quantiles("plait_event_commit_seconds"),
        ),
        Panel(
            "Replicas by model version",
            "Each source should settle on one default version; two for long means a rollout that "
            "stands still. One beside it is there for a canary, and costs its memory.",
            "short",
            (
                Target(
                    f"count by (source, version, role) (plait_model_info{{{SOURCE}}} == 1)",
                    "{{source}} {{version}} {{role}}",
                ),
            ),
        ),
        Panel(
            "Items in the catalogue",
            "As the gateway sees it. A sudden fall is a bad import.",
            "short",
            (Target("sum(plait_catalogue_items)", "items"),),
            width=6,
            stat=True,
        ),
        Panel(
            "Items no model was trained on",
            "Reached by text and attributes only. When this is a large part of the catalogue, "
            "train anew.",
            "short",
            (Target("sum(plait_embedded_items)", "items"),),
            width=6,
            stat=True,
        ),
        Panel(
            "Rankings kept for idle shoppers",
            "Requests of shoppers who did nothing since their last one, where idle_seconds keeps "
            "their rankings. Mostly misses: the time is too short, or things change all the time.",
            "cps",
            (Target(rate("plait_idle_lookups_total", by="outcome"), "{{outcome}}"),),
            width=24,
        ),
        Panel(
            "Processes by release",
            "One release per role, except during a rollout.",
            "short",
            (Target("count by (role, release) (plait_build_info)", "{{role}} {{release}}"),),
            width=12,
            stat=True,
        ),
    ),
)

WEIGHTS = Row(
    "Weights that follow events",
    (
        Panel(
            "Blend weights by surface and source",
            "Where adaptive_surfaces names a surface. A weight that goes to a bound and stays "
            "there says that training should look again; one that falls at once points at a "
            "source that answers badly.",
            "percentunit",
            (
                Target(
                    "avg by (surface, source) (plait_adapted_weight_ratio)",
                    "{{surface}} {{source}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Events that moved weights, and those that could not",
            "By surface, and by why not. ranking: too old, or of a surface that does not adapt. "
            "shopper or item: the storefront names the wrong ranking. again: counted before.",
            "cps",
            (
                Target(rate("plait_weight_updates_total", by="surface"), "{{surface}}"),
                Target(rate("plait_events_unmatched_total", by="reason"), "not: {{reason}}"),
            ),
            width=12,
        ),
    ),
)

STORE = Row(
    "Can events be made durable?",
    (
        Panel(
            "Condition of the state file",
            "1 for what it is now. full: make room on the gateway's volume, writing resumes by "
            "itself. failing: the disk. damaged: a repair is under way. Rankings go on in all of "
            "them, but for a repair at the start; events are refused with UNAVAILABLE and can be "
            "sent again.",
            "short",
            (Target("max by (reason) (plait_store_state)", "{{reason}}"),),
        ),
        Panel(
            "Events refused per second by reason",
            "Not recorded, and the caller was told so. busy: more writes wait than the disk can "
            "take.",
            "cps",
            (Target(rate("plait_events_refused_total", by="reason"), "{{reason}}"),),
        ),
        Panel(
            "Size of the state file and room left",
            "Events grow the file by about 200 bytes each until event_keep_days lets old ones "
            "go. Give the volume more room before the two lines meet.",
            "bytes",
            (
                Target('sum(plait_store_bytes{part="used"})', "state file"),
                Target('min(plait_store_bytes{part="free"})', "free"),
            ),
        ),
        Panel(
            "Damaged files set aside",
            "Each was replaced by what could be saved of it. Look at the log for how much that "
            "was, then move the file away.",
            "short",
            (Target("sum(plait_store_set_aside_files)", "files"),),
            width=6,
            stat=True,
            bad_from=1,
        ),
        Panel(
            "Old events deleted per second",
            "Those past event_keep_days, a few at a time. Always 0 where it is 0.",
            "cps",
            (Target(rate("plait_events_pruned_total"), "events"),),
            width=6,
        ),
        Panel(
            "Exposures lost per second",
            "Pages shown that are not in the exposure log, because its disk is full or stands "
            "still. Shoppers notice nothing; training and audits will.",
            "cps",
            (Target(rate("plait_exposures_lost_total"), "pages"),),
            width=6,
        ),
        Panel(
            "Rankings without the shopper's events",
            "Per second: they are on the disk, and it did not give them in time. These shoppers "
            "are ranked as strangers. Look at the volume.",
            "reqps",
            (Target(rate("plait_unread_histories_total"), "rankings"),),
            width=6,
        ),
    ),
)

JOURNAL = Row(
    "Do several gateways know the same?",
    (
        Panel(
            "Gateways by what the journal is to them",
            "Only where several share one. away: they record nothing and go on ranking from "
            "memory; all of them: look at Valkey, one of them: at its network. Below wanted: one "
            "is not there, or not scraped.",
            "short",
            (
                Target("sum by (state) (plait_journal_state)", "{{state}}"),
                Target("max(plait_gateways_wanted)", "wanted"),
            ),
            width=6,
        ),
        Panel(
            "Entries of the journal per second",
            "Taken in, by where they were written. Each gateway takes in all: with two, as many "
            "come from here as from elsewhere.",
            "cps",
            (Target(rate("plait_journal_entries_total", by="written"), "{{written}}"),),
            width=6,
        ),
        Panel(
            "Time behind the journal",
            "Of the gateway that is furthest behind; it ranks without what was recorded since. "
            "Above 30 s: it gets too little CPU, or its disk is slow or full.",
            "s",
            (Target("max(plait_journal_behind_seconds)", "most"),),
            width=6,
        ),
        Panel(
            "Entries missed",
            "Since the gateways were started. passed over: they could not be taken in. gaps: "
            "they were gone before they were read. Have that gateway copy the state of another.",
            "short",
            (
                Target("sum(plait_journal_skipped_total)", "passed over"),
                Target("sum(plait_journal_gaps_total)", "gaps"),
            ),
            width=6,
            stat=True,
            bad_from=1,
        ),
    ),
)
